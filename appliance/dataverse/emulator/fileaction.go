package emulator

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// fileAction is one of the actions that carry a file in blocks (sections 13.1, 13.3).
type fileAction struct {
	name string
	run  func(*call, *fileParams) error
}

// fileActions lists them. Those of notes and attachments differ in their table only.
var fileActions = []fileAction{
	{"InitializeFileBlocksUpload", (*call).beginFileBlocks},
	{"UploadBlock", (*call).uploadBlock},
	{"CommitFileBlocksUpload", (*call).commitFileBlocks},
	{"InitializeFileBlocksDownload", (*call).beginFileDownload},
	{"InitializeAnnotationBlocksUpload", beginNoteBlocks("InitializeAnnotationBlocksUploadResponse")},
	{"CommitAnnotationBlocksUpload", commitNoteBlocks("annotation", "documentbody", "AnnotationId", "CommitAnnotationBlocksUploadResponse")},
	{"InitializeAttachmentBlocksUpload", beginNoteBlocks("InitializeAttachmentBlocksUploadResponse")},
	{"CommitAttachmentBlocksUpload", commitNoteBlocks("activitymimeattachment", "body", "ActivityMimeAttachmentId", "CommitAttachmentBlocksUploadResponse")},
	{"DownloadBlock", (*call).downloadBlock},
	{"DeleteFile", (*call).deleteFile},
}

// fileParams are the parameters of all of them.
type fileParams struct {
	Target                                json.RawMessage
	FileName, FileAttributeName, MimeType string
	FileContinuationToken                 string
	BlockID                               string `json:"BlockId"`
	BlockData                             string
	BlockList                             []string
	Offset, BlockLength                   int
	FileID                                string `json:"FileId"`
}

func (a fileAction) post(c *call) error {
	var p fileParams
	if err := c.wire(&p); err != nil {
		return err
	}
	return a.run(c, &p)
}

// target finds the row that a Target names by @odata.type and primary key.
func (c *call) target(p *fileParams) (*table, string, error) {
	var fields map[string]any
	if err := json.Unmarshal(p.Target, &fields); err != nil {
		return nil, "", errorf(http.StatusBadRequest, "0x80040203", "The required parameter 'Target' is missing from the request.")
	}
	typ, _ := fields["@odata.type"].(string)
	t := c.srv.model.byName[wireType(typ)]
	if t == nil {
		return nil, "", errPayload("", "Microsoft.OData.ODataException: A type named '"+wireType(typ)+"' could not be resolved by the model.")
	}
	id, _ := fields[t.PrimaryID].(string)
	return t, id, nil
}

func (c *call) beginFileBlocks(p *fileParams) error {
	t, key, err := c.target(p)
	if err != nil {
		return err
	}
	col := t.byName[p.FileAttributeName]
	if col == nil || col.Type != schema.File && col.Type != schema.Image {
		return errNoProperty(t, p.FileAttributeName)
	}
	err = c.view(func(tx *tx) error {
		_, err := c.findRow(tx, t, key)
		return err
	})
	if err != nil {
		return err
	}
	token := c.srv.uploads.begin(&upload{set: t.EntitySet, key: key, column: col.LogicalName, name: p.FileName, blocks: map[string][]byte{}})
	return c.answerType("InitializeFileBlocksUploadResponse", object{{"FileContinuationToken", token}})
}

func (c *call) uploadBlock(p *fileParams) error {
	data, err := base64.StdEncoding.DecodeString(p.BlockData)
	id, err2 := base64.StdEncoding.DecodeString(p.BlockID)
	if err != nil || err2 != nil || len(id) == 0 || len(id) > 64 {
		return errorf(http.StatusBadRequest, "0x80040203", "The BlockId or BlockData is not valid.")
	}
	if len(data) > maxChunk {
		return errFileTooBig()
	}
	err = c.srv.uploads.with(p.FileContinuationToken, func(u *upload) (bool, error) {
		for other := range u.blocks {
			if len(other) != len(p.BlockID) {
				return false, errorf(http.StatusBadRequest, "0x80040203", "The BlockIds of a file must all have the same length.")
			}
		}
		if u.blocks == nil {
			return false, errorf(http.StatusBadRequest, "0x80040203", "The file continuation token is not one of an upload in blocks.")
		}
		u.blocks[p.BlockID] = data
		return false, nil
	})
	if err != nil {
		return err
	}
	return c.noContent()
}

// commit takes the blocks of the list out of an upload, put together.
func (c *call) commit(p *fileParams) (*upload, []byte, error) {
	var whole []byte
	var done *upload
	err := c.srv.uploads.with(p.FileContinuationToken, func(u *upload) (bool, error) {
		for _, id := range p.BlockList {
			block, ok := u.blocks[id]
			if !ok {
				return false, errorf(http.StatusBadRequest, "0x80040203", "The specified block list is invalid: there is no block '%s'.", id)
			}
			whole = append(whole, block...)
		}
		done = u
		return true, nil
	})
	return done, whole, err
}

func (c *call) commitFileBlocks(p *fileParams) error {
	u, data, err := c.commit(p)
	if err != nil {
		return err
	}
	t := c.srv.model.bySet[u.set]
	if t == nil || t.byName[u.column] == nil {
		return errSegment(u.set)
	}
	c.table, c.records = t, 1
	id, err := c.storeFile(t, u.key, t.byName[u.column], &file{name: or(p.FileName, u.name), mime: or(p.MimeType, mimeOf(u.name)), data: data})
	if err != nil {
		return err
	}
	return c.answerType("CommitFileBlocksUploadResponse", object{{"FileId", id}, {"FileSizeInBytes", len(data)}})
}

func (c *call) beginFileDownload(p *fileParams) error {
	t, key, err := c.target(p)
	if err != nil {
		return err
	}
	col := t.byName[p.FileAttributeName]
	if col == nil || col.Type != schema.File {
		return errNoProperty(t, p.FileAttributeName)
	}
	var f *file
	err = c.view(func(tx *tx) error {
		r, err := c.findRow(tx, t, key)
		if err == nil {
			f = tx.s.files[r.value(col).guid]
		}
		return err
	})
	if err == nil && f == nil {
		err = errorf(http.StatusNotFound, "0x80040217", "No file attachment found for attribute: %s EntityId: %s.", col.LogicalName, key)
	}
	if err != nil {
		return err
	}
	token := c.srv.uploads.begin(&upload{download: true, data: f.data})
	return c.answerType("InitializeFileBlocksDownloadResponse", object{{"FileContinuationToken", token}, {"FileSizeInBytes", len(f.data)},
		{"FileName", f.name}, {"IsChunkingSupported", true}})
}

func (c *call) downloadBlock(p *fileParams) error {
	var data []byte
	err := c.srv.uploads.with(p.FileContinuationToken, func(u *upload) (bool, error) {
		if !u.download || p.Offset < 0 || p.BlockLength <= 0 || p.BlockLength > maxChunk {
			return false, errorf(http.StatusBadRequest, "0x80040203", "The Offset or BlockLength is not valid.")
		}
		from := min(p.Offset, len(u.data))
		data = u.data[from:min(from+p.BlockLength, len(u.data))]
		return false, nil
	})
	if err != nil {
		return err
	}
	return c.answerType("DownloadBlockResponse", object{{"Data", base64.StdEncoding.EncodeToString(data)}})
}

// deleteFile empties the column that holds the file.
func (c *call) deleteFile(p *fileParams) error {
	id, err := schema.ParseGUID(p.FileID)
	if err != nil {
		return errLiteral(&table{Table: new(schema.Table)}, p.FileID, "Edm.Guid")
	}
	c.records = 1
	return c.change(func(w *writer) error {
		for _, t := range c.srv.model.tables {
			for _, col := range t.files {
				var holder row
				w.tx.scan(t, schema.GUID{}, func(r row) bool {
					if r.value(col).guid == id {
						holder = r
					}
					return holder.t == nil
				})
				if holder.t == nil {
					continue
				}
				if err := w.clearFile(holder, col); err != nil {
					return err
				}
				return c.noContent()
			}
		}
		return errorf(http.StatusNotFound, "0x80040217", "fileattachment With Id = %s Does Not Exist", id)
	})
}

// beginNoteBlocks answers the action that begins a note's or attachment's body.
func beginNoteBlocks(typ string) func(*call, *fileParams) error {
	return func(c *call, p *fileParams) error {
		if _, _, err := c.target(p); err != nil {
			return err
		}
		token := c.srv.uploads.begin(&upload{target: slices.Clone(p.Target), blocks: map[string][]byte{}})
		return c.answerType(typ, object{{"FileContinuationToken", token}})
	}
}

// commitNoteBlocks answers the action that makes the note or attachment with the
// blocks as its body. A note that is there gets the body; an attachment must be new.
func commitNoteBlocks(name, column, idName, typ string) func(*call, *fileParams) error {
	return func(c *call, p *fileParams) error {
		t, _, err := c.target(p)
		if err != nil {
			return err
		}
		_, data, err := c.commit(p)
		if err != nil {
			return err
		}
		body := t.byName[column]
		if t.LogicalName != name || body == nil {
			return errNoProperty(t, column)
		}
		c.table, c.records = t, 1
		d := c.newDecoder(false)
		d.scanner, d.upsert = scanner{b: p.Target}, name == "annotation"
		rec := &record{t: t}
		err = d.record(rec, 0)
		if err == nil {
			err = d.end()
		}
		if err != nil {
			return inPayload(t.EntitySet, err)
		}
		rec.set = append(rec.set, assign{body, textValue(base64.StdEncoding.EncodeToString(data))})
		var id schema.GUID
		err = c.change(func(w *writer) (err error) {
			w.inBlocks = true
			if name == "annotation" && !rec.id.IsZero() {
				id, _, err = w.upsert(rowKey{t: t, id: rec.id}, rec)
			} else {
				id, err = w.create(rec)
			}
			return err
		})
		if err != nil {
			return err
		}
		return c.answerType(typ, object{{idName, id}, {"FileSizeInBytes", len(data)}})
	}
}
