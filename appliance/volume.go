package appliance

// Volume says what is known of the encryption of the disk that a folder lies on.
type Volume struct {
	Folder    string `json:"folder"`
	Encrypted string `json:"encrypted"` // yes, no or unknown
	How       string `json:"how"`       // by what, or why it is not known
}

// Security is how well the project's files are kept from others.
type Security struct {
	OpenToOthers []string `json:"openToOthers"` // each with the command that closes it
	Volume       Volume   `json:"volume"`
	Snapshots    bool     `json:"snapshotsEncrypted"`
}

// security looks at the modes of the project's files and at the disk below them.
func (p *Project) security() Security {
	s := Security{OpenToOthers: p.openToOthers(), Snapshots: !p.Config.Snapshots.Encrypt.IsZero()}
	dir := p.work()
	if !exists(dir) {
		dir = p.Config.Dir
	}
	s.Volume = volumeOf(dir)
	if s.OpenToOthers == nil {
		s.OpenToOthers = []string{}
	}
	return s
}
