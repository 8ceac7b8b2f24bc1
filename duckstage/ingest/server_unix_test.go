//go:build unix

package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// databases are the servers that this test process has started.
var databases struct {
	postgres, maria sync.Once
	pg, my          *testServer
	pgErr, myErr    error
	stop            []func()
}

// testServer is a database server of our own: in a folder of its own, on a free port,
// run by a user who is not root.
type testServer struct {
	port int
	dir  string
	as   *syscall.Credential
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, stop := range databases.stop {
		stop()
	}
	os.Exit(code)
}

// need skips the test where a server cannot be had, or fails it where it must be.
func need(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("DVMIGRATE_DATABASES") == "must" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// program finds a program of a Debian package.
func program(names ...string) (string, error) {
	for _, name := range names {
		found, _ := filepath.Glob(filepath.Join("/usr/lib/postgresql/*/bin", name))
		slices.Sort(found)
		if len(found) > 0 {
			return found[len(found)-1], nil
		}
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		if path := "/usr/sbin/" + name; isFile(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s: install the Debian packages postgresql and mariadb-server", names[0])
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// newServer makes the folder, finds a port, and who runs the server.
func newServer(owner string) (*testServer, error) {
	s := &testServer{}
	var err error
	if s.dir, err = os.MkdirTemp("", "dvmigrate-db-"); err != nil {
		return nil, err
	}
	databases.stop = append(databases.stop, func() { os.RemoveAll(s.dir) })
	if os.Getuid() == 0 {
		u, err := user.Lookup(owner)
		if err != nil {
			if u, err = user.Lookup("nobody"); err != nil {
				return nil, err
			}
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	return s, l.Close()
}

func (s *testServer) command(path string, args ...string) *exec.Cmd {
	c := exec.Command(path, args...)
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	c.Env = append(os.Environ(), "HOME="+s.dir, "LC_ALL=C.UTF-8")
	return c
}

func (s *testServer) run(path string, args ...string) error {
	if out, err := s.command(path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(path), err, out)
	}
	return nil
}

// serve starts the server and waits until it takes connections.
func (s *testServer) serve(signal os.Signal, path string, args ...string) error {
	c := s.command(path, args...)
	log, err := os.Create(filepath.Join(s.dir, "server.log"))
	if err != nil {
		return err
	}
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	databases.stop = slices.Insert(databases.stop, 0, func() {
		_ = c.Process.Signal(signal)
		<-ended
	})
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	for {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), time.Second)
		if err == nil {
			conn.Close()
			return nil
		}
		select {
		case err := <-ended:
			ended <- err
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("server ended: %w\n%s", err, text)
		case <-ctx.Done():
			return errors.New("the server does not answer")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

const testPassword = "s3cret-Pa55"

// startPostgres starts PostgreSQL once and returns the address of a database in it.
func startPostgres(t *testing.T) string {
	t.Helper()
	databases.postgres.Do(func() { databases.pg, databases.pgErr = runPostgres() })
	need(t, databases.pgErr)
	return fmt.Sprintf("postgres://mover:%s@127.0.0.1:%d/shop?sslmode=disable", testPassword, databases.pg.port)
}

func runPostgres() (*testServer, error) {
	initdb, err := program("initdb")
	if err != nil {
		return nil, err
	}
	bin := filepath.Dir(initdb)
	s, err := newServer("postgres")
	if err != nil {
		return nil, err
	}
	secret, data := filepath.Join(s.dir, "password"), filepath.Join(s.dir, "data")
	if err := os.WriteFile(secret, []byte(testPassword), 0o644); err != nil {
		return nil, err
	}
	if err := s.run(initdb, "-D", data, "-U", "mover", "--pwfile", secret, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"); err != nil {
		return nil, err
	}
	// Without autovacuum, so that no table is analyzed in the midst of a test, which changes plans.
	if err := s.serve(syscall.SIGINT, filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories="+s.dir, "-c", "fsync=off", "-c", "autovacuum=off"); err != nil {
		return nil, err
	}
	psql := exec.Command(filepath.Join(bin, "psql"), fmt.Sprintf("postgres://mover:%s@127.0.0.1:%d/postgres", testPassword, s.port), "-c", "CREATE DATABASE shop")
	for deadline := time.Now().Add(4 * time.Minute); ; {
		out, err := exec.Command(psql.Path, psql.Args[1:]...).CombinedOutput()
		if err == nil {
			return s, nil
		}
		if time.Now().After(deadline) || !strings.Contains(string(out), "starting up") {
			return nil, fmt.Errorf("psql: %w\n%s", err, out)
		}
	}
}

// psql runs statements, or a file, in the test's database.
func psql(t *testing.T, dsn string, args ...string) string {
	t.Helper()
	path, err := program("psql")
	need(t, err)
	out, err := exec.Command(path, append([]string{dsn, "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	return string(out)
}

// startMaria starts MariaDB once and returns the address of a database in it.
func startMaria(t *testing.T) string {
	t.Helper()
	databases.maria.Do(func() { databases.my, databases.myErr = runMaria() })
	need(t, databases.myErr)
	return fmt.Sprintf("mysql://mover:%s@127.0.0.1:%d/shop", testPassword, databases.my.port)
}

func runMaria() (*testServer, error) {
	install, err := program("mariadb-install-db", "mysql_install_db")
	if err != nil {
		return nil, err
	}
	daemon, err := program("mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	s, err := newServer("mysql")
	if err != nil {
		return nil, err
	}
	data, initial := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "init.sql")
	text := fmt.Sprintf("CREATE DATABASE shop;\nCREATE USER 'mover'@'%%' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO 'mover'@'%%' WITH GRANT OPTION;\n", testPassword)
	if err := os.WriteFile(initial, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if err := s.run(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db"); err != nil {
		return nil, err
	}
	return s, s.serve(syscall.SIGTERM, daemon, "--no-defaults", "--datadir="+data, "--port="+strconv.Itoa(s.port), "--bind-address=127.0.0.1",
		"--socket="+filepath.Join(s.dir, "my.sock"), "--pid-file="+filepath.Join(s.dir, "my.pid"), "--init-file="+initial,
		"--innodb-flush-log-at-trx-commit=0", "--character-set-server=utf8mb4")
}

// maria runs statements in the test's database.
func maria(t *testing.T, statements string) string {
	t.Helper()
	path, err := program("mariadb", "mysql")
	need(t, err)
	c := exec.Command(path, "--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-P"+strconv.Itoa(databases.my.port), "-umover", "-p"+testPassword, "-N", "-B", "--default-character-set=utf8mb4", "shop")
	c.Stdin = strings.NewReader(statements)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("mariadb: %v\n%s", err, out)
	}
	return string(out)
}
