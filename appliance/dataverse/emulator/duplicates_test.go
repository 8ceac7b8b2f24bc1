package emulator

import "testing"

// TestDuplicateDetection: off unless a write asks for it, on for one that does (15.3).
func TestDuplicateDetection(t *testing.T) {
	e := start(t, func(o *Options) { o.DuplicateRules = []DuplicateRule{{"contact", []string{"lastname", "firstname"}}} })
	ask := []string{"MSCRM.SuppressDuplicateDetection", "false"}
	ann := `{"contactid":"` + con1 + `","firstname":"Ann","lastname":"Ek"}`
	e.want(204, "", "POST", "contacts", ann, ask...)
	e.want(412, "0x80040333", "POST", "contacts", `{"firstname":"ANN","lastname":"ek "}`, ask...)
	e.want(204, "", "POST", "contacts", `{"firstname":"Ann"}`, ask...)
	e.want(204, "", "PATCH", "contacts("+con1+")", `{"firstname":"Ann","emailaddress1":"a@b.c"}`, ask...)
	e.want(204, "", "POST", "contacts", `{"contactid":"`+con2+`","firstname":"Ann","lastname":"Ek"}`)
	e.want(412, "0x80040333", "PATCH", "contacts("+con1+")", `{"emailaddress1":"x@b.c"}`, ask...)
	e.want(204, "", "PATCH", "contacts("+con2+")", `{"lastname":"Roth"}`, ask...)
	e.want(204, "", "PATCH", "contacts("+con1+")", `{"emailaddress1":"x@b.c"}`, ask...)
	e.want(400, "0x80060888", "GET", "contacts(lastname='Ek',firstname='Ann')", "")
	if _, err := New(Options{Schema: world(t), DuplicateRules: []DuplicateRule{{"contact", []string{"nothing"}}}}); err == nil {
		t.Error("a rule on a column that is not there was taken")
	}
}
