package emulator

import (
	"encoding/base64"
	"net/http"
)

// maxUpload is organization.maxuploadfilesize: the largest note or attachment sent
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
		most := maxUpload
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
