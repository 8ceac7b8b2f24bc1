package appliance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"dvmigrate/appliance/config"
	"dvmigrate/appliance/dataverse"
	"dvmigrate/appliance/dataverse/schema"
	"dvmigrate/appliance/mapping"
)

// Pin is the environment that a project belongs to, in work/target.json: the ledger
// says what that one has, and would be wrong about any other (method.md M11).
type Pin struct {
	Version      int         `json:"version"`
	Organization schema.GUID `json:"organization"`
	URL          string      `json:"url"`
	Since        time.Time   `json:"since"`
	Language     int         `json:"language,omitempty"` // that it was made with, an LCID; 0 = not known
}

// OtherTargetError says that the settings ask for another environment than the one
// that the project is pinned to. Nothing was sent to it but, where Organization is
// set, the question who it is.
type OtherTargetError struct {
	Pin          Pin
	URL          string      // that is asked for
	Organization schema.GUID // that answered there; zero: it was not asked
	Place        string      // where the settings name it
}

func (e *OtherTargetError) Error() string {
	is := "another address than that of the environment"
	if !e.Organization.IsZero() {
		is = fmt.Sprintf("another environment (organization %s) than the one", e.Organization)
	}
	return fmt.Sprintf(`%s is %s that this project is pinned to: %s (organization %s, since %s)
the ledger says which records that one has; for another it would be wrong, so nothing was sent
put the address back (%s); for another environment begin a project of its own
or, if the environment was renamed or copied with its records, say the address a second time: --new-target %s`,
		e.URL, is, e.Pin.URL, e.Pin.Organization, e.Pin.Since.Local().Format("2006-01-02"), e.Place, e.URL)
}

func (p *Project) pinPath() string { return filepath.Join(p.work(), pinFile) }

// pinFile is the pin's name in the work folder.
const pinFile = "target.json"

// pin reads what the project is pinned to; nil when it is not yet.
func (p *Project) pin() (*Pin, error) {
	pin := new(Pin)
	there, err := readNote(p.pinPath(), pin)
	if !there && err == nil {
		return nil, nil
	}
	if err == nil && (pin.Version != 1 || pin.Organization.IsZero() || pin.URL == "") {
		err = errors.New("version, organization or url is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s, which says what environment the project belongs to: %w\n%s", p.pinPath(), err, p.restoreHint())
	}
	return pin, nil
}

// otherTarget compares the settings' environment with the pin; organization is zero
// when it was not asked yet. On this machine, where an emulator may listen on any
// port, only the organization counts.
func (p *Project) otherTarget(pin *Pin, organization schema.GUID) error {
	target := p.Config.Target
	sameURL := pin.URL == target.Environment() || target.Loopback() && config.Target{URL: pin.URL}.Loopback()
	if sameURL && (organization.IsZero() || organization == pin.Organization) {
		return nil
	}
	place := "target.url in migration.yaml"
	if f := p.Config.FaultAt("target.url", ""); f.Line > 0 {
		place = fmt.Sprintf("target.url in %s, line %d", f.File, f.Line)
	} else if f.File != "" {
		place = f.File
	}
	return &OtherTargetError{Pin: *pin, URL: target.Environment(), Organization: organization, Place: place}
}

// allowTarget refuses another environment than the project's before anything is sent
// to it, a token least of all. again is the address said a second time; "" = not said.
func (p *Project) allowTarget(again string) error {
	if said := (config.Target{URL: again}).Environment(); again != "" && said != p.Config.Target.Environment() {
		return fmt.Errorf("--new-target %s is not the address in the settings, %s: both must name the same environment", again, p.Config.Target.Environment())
	}
	pin, err := p.pin()
	if err != nil || pin == nil || again != "" {
		return err
	}
	return p.otherTarget(pin, schema.GUID{})
}

// keepTarget pins the project to the environment that answered, the first time or when
// its address was said again, and otherwise refuses another one.
func (p *Project) keepTarget(who dataverse.Identity, again string) error {
	pin, err := p.pin()
	if err != nil {
		return err
	}
	if pin != nil {
		other := p.otherTarget(pin, who.OrganizationID)
		if other == nil || again == "" {
			return other
		}
		p.o.Log.Warn("the project is pinned to another environment from now on", "was", pin.URL, "is", p.Config.Target.Environment())
	}
	pin = &Pin{Version: 1, Organization: who.OrganizationID, URL: p.Config.Target.Environment(), Since: time.Now().UTC().Truncate(time.Second)}
	if err := keepNote(p.pinPath(), pin); err != nil {
		return fmt.Errorf("note which environment the project belongs to: %w", err)
	}
	return nil
}

// keepLanguage asks, once, in what language the pinned environment was made. One that does not
// tell is no hindrance: texts are then compared as most environments do.
func (p *Project) keepLanguage(ctx context.Context, client *dataverse.Client) error {
	pin, err := p.pin()
	if err != nil || pin == nil || pin.Language != 0 {
		return err
	}
	if pin.Language, err = client.Language(ctx); err != nil {
		if !refused(err) {
			return err
		}
		p.o.Log.Warn("the environment's language cannot be read, so that accents are taken not to count in its keys", "error", err)
		return nil
	}
	if pin.Language == 0 {
		return nil
	}
	if err := keepNote(p.pinPath(), pin); err != nil {
		return fmt.Errorf("note the environment's language: %w", err)
	}
	return nil
}

// language is that of the pinned environment; 0 while it is not known.
func (p *Project) language() int {
	pin, err := p.pin()
	if err != nil || pin == nil { // who needs the pin itself says so
		return 0
	}
	return pin.Language
}

// collation is how the pinned environment compares texts. careful says what is so while its
// language is not known: that accents count, where taking texts for the same would do harm.
func (p *Project) collation(careful bool) mapping.Collation {
	language := p.language()
	if language == 0 && careful {
		return mapping.Collation{Accents: true}
	}
	return mapping.CollationOf(language)
}
