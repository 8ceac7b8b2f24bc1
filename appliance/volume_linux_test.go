package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestVolumeOf(t *testing.T) {
	sys := t.TempDir()
	device := func(number, name, uuid string, slaves ...string) {
		t.Helper()
		dir := filepath.Join(sys, "devices", name)
		for _, d := range []string{filepath.Join(dir, "dm"), filepath.Join(dir, "slaves"), filepath.Join(sys, "dev", "block")} {
			if err := os.MkdirAll(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if uuid != "" {
			if err := os.WriteFile(filepath.Join(dir, "dm", "uuid"), []byte(uuid), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range slaves {
			if err := os.Symlink(filepath.Join(sys, "devices", s), filepath.Join(dir, "slaves", s)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(dir, filepath.Join(sys, "dev", "block", number)); err != nil {
			t.Fatal(err)
		}
	}
	device("8:1", "sda1", "")
	device("253:0", "dm-0", "CRYPT-LUKS2-0123-luks", "sda1")
	device("253:1", "dm-1", "LVM-abc", "dm-0")
	device("253:2", "dm-2", "LVM-def", "sda1")
	mounts := filepath.Join(sys, "mountinfo")
	if err := os.WriteFile(mounts, []byte("36 35 0:40 / /work rw - overlay overlay rw,lowerdir=/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name         string
		major, minor uint32
		encrypted    string
		how          string
	}{
		{"a plain partition", 8, 1, "no", "below sda1"},
		{"LUKS", 253, 0, "yes", "dm-crypt on dm-0"},
		{"a logical volume on LUKS", 253, 1, "yes", "dm-crypt on dm-0"},
		{"a logical volume on a plain disk", 253, 2, "no", "below dm-2"},
		{"an overlay", 0, 40, "unknown", "(overlay)"},
		{"a disk that is not told of", 9, 9, "unknown", "9:9"},
	} {
		v := volumeOn(sys, mounts, "/work", unix.Mkdev(c.major, c.minor))
		if v.Encrypted != c.encrypted || !strings.Contains(v.How, c.how) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}
