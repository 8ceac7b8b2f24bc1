package config

import (
	"fmt"
	"reflect"
)

// Masking is the key that sources' masks are made with, and whether they are.
type Masking struct {
	Key     Secret `json:"key" env:"DVMIGRATE_MASK_KEY" doc:"The key that values are masked with, of 16 characters or more; only as ${NAME}, never written out. The same key masks the same value in the same way."`
	KeyFile string `json:"key_file" doc:"File with that key, readable by you alone; counts where there is no key."`
	Off     bool   `json:"off" doc:"Whether the masks of the sources do not count, as for the load into production."`
}

// Mask says how a column of a source is masked.
type Mask struct {
	As   string `json:"as" short:"yes" need:"yes" enum:"name,company,address,email,phone,text,number,id,date,blank" doc:"What the column holds."`
	By   string `json:"by" doc:"Column that says whose a date is; all dates of a person move by the same days. date only."`
	Days int    `json:"days" min:"0" max:"3650" doc:"By how many days a date moves at most, to or fro; 0 for 180. date only."`
}

// masks checks the masks of a source, and that there is a key.
func (k *checker) masks(s Source, path string) {
	for _, name := range sortedNames(reflect.ValueOf(s.Mask)) {
		m, at := s.Mask[name], join(join(path, "mask"), name)
		switch {
		case m.As == "date" && m.By == "":
			k.fault(at, "`"+at+"` does not say whose the dates are", fmt.Sprintf("write `%s: {as: date, by: COLUMN}` with a column such as the person's number", name))
		case m.As != "date" && (m.By != "" || m.Days != 0):
			k.fault(at, "`"+at+"`: by and days are of dates only", "")
		}
	}
}

// masking checks the key, where a source has masks.
func (k *checker) masking() {
	m := k.c.Masking
	masked := false
	for _, s := range k.c.Sources {
		masked = masked || len(s.Mask) > 0
	}
	switch {
	case masked && !m.Off && m.Key.IsZero() && m.KeyFile == "":
		k.fault("masking.key", "sources have masks, and there is no key for them",
			"write `masking: {key: \"${MASK_KEY}\"}` and set the variable, say with: export MASK_KEY=$(openssl rand -hex 32)")
	case !m.Key.IsZero() && m.Key.absent == "" && len(m.Key.Reveal()) < 16:
		k.fault("masking.key", "`masking.key` is shorter than 16 characters", "make one: openssl rand -hex 32")
	}
}
