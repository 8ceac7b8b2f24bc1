package preflight

import (
	"fmt"

	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// The sizes of columns that say none, and of a note's or an attachment's body at most, in KB
// (dataverse-web-api.md 13).
const (
	fileKB  = 32768
	imageKB = 10240
	bodyKB  = 131072
)

// imageEndings are of what an image may be.
const imageEndings = "'gif', 'jpg', 'jpeg', 'tif', 'tiff', 'bmp', 'png'"

// file adds what is asked of a file: it is there, as large as may be, and an image where
// the column is one. Which kinds an organization blocks only the service knows.
func (b *builder) file(c mapping.Column) {
	col, name := mapping.Ident(c.LogicalName), c.LogicalName
	path, size := "json_extract_string("+col+", '$.file')", "TRY_CAST(json_extract_string("+col+", '$.size') AS BIGINT)"
	most := c.MaxSizeKB
	switch {
	case most > 0:
	case c.Type == schema.File:
		most = fileKB
	case c.Type == schema.Image:
		most = imageKB
	default:
		most = bodyKB
	}
	shown := "'''' || left(" + path + ", 200) || ''''"
	b.add(FileFault, name, col+" IS NOT NULL AND "+size+" IS NULL", shown+" || ' is not in the folder of the files'")
	b.add(FileFault, name, fmt.Sprintf("%s > %d", size, most*1024), fmt.Sprintf("%s || ' has ' || %s || ' bytes, more than the %d KB that the column takes'", shown, size, most))
	if c.Type == schema.Image {
		ending := "lower(regexp_extract(json_extract_string(" + col + ", '$.name'), '[.]([^.]*)$', 1))"
		b.add(FileFault, name, col+" IS NOT NULL AND "+ending+" NOT IN ("+imageEndings+")", shown+" || ' is no image: a gif, jpg, tif, bmp or png'")
	}
}
