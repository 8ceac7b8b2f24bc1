package emulator

import (
	"encoding/base64"
	"net/http"
	"strconv"
)

// maxUpload is organization.maxuploadfilesize where the row says none: the largest note or attachment sent
// inline; in blocks they may be 128 MB (section 13.3).
const maxUpload = 5 << 20

// describeBody sets what the service derives of a note's or attachment's body.
func (w *writer) describeBody(t *table, vals []value) error {
	if t.body == nil {
		return nil
	}
	size := 0
	if v := vals[t.body.idx]; !v.isNull() {
		data, err := base64.StdEncoding.DecodeString(v.text)
		if err != nil {
			return errorf(http.StatusBadRequest, "0x80040203", "The %s of the %s is not base64.", t.body.LogicalName, t.LogicalName)
		}
		size = len(data)
		if err := w.tx.mayStore(t.text(vals, "filename"), t.text(vals, "mimetype")); err != nil {
			return err
		}
		most := maxUpload
		if n, err := strconv.Atoi(w.tx.organizationText("maxuploadfilesize")); err == nil && n > 0 {
			most = n
		}
		if w.inBlocks {
			most = maxSingleFile
		}
		if size > most {
			return errFileTooBig()
		}
	}
	if c := t.byName["filesize"]; c != nil {
		vals[c.idx] = intValue(int64(size))
	}
	if c := t.byName["isdocument"]; c != nil {
		vals[c.idx] = boolValue(size > 0)
	}
	return nil
}

// text is a text column's value among those of a row; empty where there is none.
func (t *table) text(vals []value, name string) string {
	if c := t.byName[name]; c != nil {
		return vals[c.idx].text
	}
	return ""
}
