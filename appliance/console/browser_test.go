package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// The page in a real browser. DVMIGRATE_CHROMIUM=must fails where there is none, and
// DVMIGRATE_SCREENSHOTS names a folder for pictures of every view in every size.

// chromium starts a browser and says in the test what goes wrong in its pages.
func chromium(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		if os.Getenv("DVMIGRATE_CHROMIUM") == "must" {
			t.Fatal("there is no Chromium: apt-get install chromium")
		}
		t.Skip("there is no Chromium, so the page is not looked at; apt-get install chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(2*time.Minute))
	allocated, end := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(end)
	ctx, leave := chromedp.NewContext(allocated)
	entries, thrown := chromedp.Events(ctx, log.EntryAdded), chromedp.Events(ctx, runtime.ExceptionThrown)
	var said sync.WaitGroup
	said.Go(func() {
		for e, err := range entries {
			if err == nil && e.Entry.Level != log.EntryLevelInfo && e.Entry.Level != log.EntryLevelVerbose && !strings.Contains(e.Entry.Text, refused) {
				t.Errorf("the browser says: %s %s", e.Entry.Text, e.Entry.URL)
			}
		}
	})
	said.Go(func() {
		for e, err := range thrown {
			if err == nil {
				t.Errorf("the page's script fails: %s", e.ExceptionDetails.Exception.Description)
			}
		}
	})
	t.Cleanup(func() { leave(); said.Wait() })
	return ctx
}

// refused is what the browser says of an answer that is an error on purpose.
const refused = "422"

// serving runs a console until the test ends.
func serving(t *testing.T, c Controller) (s *Server, end func()) {
	t.Helper()
	s = newConsole(t, c, Options{Guide: []GuidePage{{Name: "console", Title: "The web console", Text: "# The web console\n\nA `code` and **bold**; see `dvmigrate guide load`.\n\n    dvmigrate serve\n\n| a | b |\n|---|---|\n| 1 | `x\\|y` |\n\n- one\n- two\n  lines\n\n1. first\n"}, {Name: "load", Title: "Load", Text: "# Load\n"}}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	end = sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(end)
	return s, end
}

// step is what a test does in the page.
type step = chromedp.Action[chromedp.Void]

// until waits for an expression of the page to be true.
func until(expression string) step {
	const patience = 4 * time.Minute // nothing is judged by it but that it came
	look := fmt.Sprintf(`new Promise((done) => { const end = Date.now() + 200, look = () => { if (%s) done(true); else if (Date.now() > end) done(false); else setTimeout(look, 10); }; look(); })`, expression)
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		var last error
		for began := time.Now(); time.Since(began) < patience && ctx.Err() == nil; {
			there, err := chromedp.Evaluate[bool](look, chromedp.EvalAwaitPromise)(ctx, target)
			if err == nil && there {
				return chromedp.Void{}, nil
			}
			last = err // the page may have gone to another one meanwhile
		}
		return chromedp.Void{}, fmt.Errorf("never true: %s (%v)", expression, errors.Join(last, ctx.Err()))
	}
}

// script runs in the page.
func script(text string) step {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Evaluate[any](text)(ctx, target)
		return chromedp.Void{}, err
	}
}

func focus(selector string) step {
	return script(fmt.Sprintf(`document.querySelector(%q).focus()`, selector))
}

// text is what an element says.
func text(ctx context.Context, t *testing.T, selector string) string {
	t.Helper()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q).textContent`, selector)))
	if err != nil {
		t.Fatalf("%s: %v", selector, err)
	}
	return out
}

var everyView = []string{"overview", "tables", "errors", "graph", "records", "records/account/A-17", "sql", "snapshots", "runs", "guide"}

func TestThePageInABrowser(t *testing.T) {
	ctx := chromium(t)
	c := newLarge()
	s, end := serving(t, c)
	run := func(what string, steps ...step) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	link := s.Link(Operator)
	run("come in", chromedp.Navigate(link), until(`document.getElementById("percent")?.textContent.includes("%")`))
	address, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		t.Fatal(err)
	}
	title, err := chromedp.Run(ctx, chromedp.Title())
	if err != nil {
		t.Fatal(err)
	}
	if address != s.URL()+"/" || !strings.Contains(title, "60 % · large") {
		t.Errorf("at %q, %q", address, title)
	}
	if got := text(ctx, t, "#finish"); !strings.HasPrefix(got, "Ends in about 20 h") {
		t.Errorf("finish: %q", got)
	}
	if got := text(ctx, t, "#window"); !strings.Contains(got, "to spare") {
		t.Errorf("window: %q", got)
	}
	if got := text(ctx, t, "#bottleneck"); !strings.Contains(got, "limit of execution time") {
		t.Errorf("bottleneck: %q", got)
	}
	t.Run("an operator steers by keyboard", func(t *testing.T) {
		run("pause", focus("#pause"), chromedp.KeyEvent(kb.Enter), until(`document.getElementById("said").textContent === "done: pause"`), until(`document.getElementById("condition").textContent === "paused"`))
		run("announced", until(`document.getElementById("announcer").textContent.includes("paused")`))
		run("go on", chromedp.KeyEvent(kb.Enter), until(`document.getElementById("condition").textContent !== "paused"`))
		run("fewer", chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(" "), until(`document.getElementById("bound").textContent.startsWith("78 of 104")`))
		run("stop, thought better of", focus("#stop"), chromedp.KeyEvent(kb.Enter), until(`document.getElementById("sure").open`), chromedp.KeyEvent(kb.Enter), until(`!document.getElementById("sure").open`))
		if got := c.actions(); !slices.Equal(got, []string{"pause", "resume", "parallel"}) {
			t.Errorf("actions %v", got)
		}
	})
	t.Run("charts are read by keyboard", func(t *testing.T) {
		run("chart", until(`document.querySelector("#chart-rate path.line").getAttribute("d").length > 100`), focus("#chart-rate svg"), chromedp.KeyEvent(kb.Home))
		if got := text(ctx, t, "#chart-rate .readout"); !strings.Contains(got, ": taken") {
			t.Errorf("readout %q", got)
		}
	})
	t.Run("SQL and its errors", func(t *testing.T) {
		run("sql", goTo("sql"), focus("#sql-text"), script(`document.getElementById("sql-text").value = "boom"`), script(`document.getElementById("sql-form").requestSubmit()`),
			until(`document.querySelector("#sql-answer [role=alert]")?.textContent === "no such table"`),
			script(`document.getElementById("sql-text").value = "SELECT 1"`), script(`document.getElementById("sql-form").requestSubmit()`), until(`document.querySelector("#sql-answer td")?.textContent === "<b>1</b>"`))
	})
	t.Run("every view fits and has names", func(t *testing.T) {
		for _, width := range []int64{360, 1280, 2560} {
			for _, dark := range []bool{false, true} {
				run("size", chromedp.EmulateViewport(width, map[int64]int64{360: 740, 1280: 900, 2560: 1440}[width]), scheme(dark))
				for _, view := range everyView {
					run(view, goTo(view), until(settled[strings.Split(view, "/")[0]]))
					fits(ctx, t, fmt.Sprintf("%s at %d", view, width))
					picture(ctx, t, view, width, dark)
				}
			}
		}
	})
	t.Run("a used link says so", func(t *testing.T) {
		other, leave := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext())
		defer leave()
		if err := chromedp.Do(other, chromedp.Navigate(link), until(`document.getElementById("said").textContent.includes("used already")`)); err != nil {
			t.Fatal(err)
		}
		if err := chromedp.Do(other, chromedp.Navigate(s.URL()+"/"), until(`document.getElementById("said").textContent.includes("open a link")`)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the page hears that the console ends", func(t *testing.T) {
		run("overview", goTo("overview"))
		end()
		run("end", until(`document.getElementById("trouble").textContent.startsWith("The console was stopped")`))
	})
}

// settled says of each view that what it asked for is there.
var settled = map[string]string{
	"overview": `document.querySelector("#chart-rate path.line").getAttribute("d").length > 100`, "tables": `document.querySelectorAll("#table-rows tr").length > 100`,
	"errors": `document.querySelectorAll(".group").length > 2`, "graph": `document.querySelectorAll("#graph-drawing .node").length > 100`,
	"records": `document.querySelectorAll("#record-list tbody tr").length > 10 && (!location.hash.includes("A-17") || document.querySelector("#record pre"))`,
	"sql":     `document.querySelector("#sql-answer td")`, "snapshots": `document.querySelectorAll("#snapshot-list tbody tr").length > 1`,
	"runs": `document.querySelectorAll("#run-rows tr").length > 1`, "guide": `document.querySelector("#guide-text pre")`,
}

func goTo(view string) step { return script(fmt.Sprintf(`location.hash = %q`, view)) }

func scheme(dark bool) step {
	value := "light"
	if dark {
		value = "dark"
	}
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		return err
	})
}

// fits requires that the page is no wider than the window, that what can be worked has a
// name, that tables have captions and headings stand in order.
func fits(ctx context.Context, t *testing.T, what string) {
	t.Helper()
	faults, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](`(() => {
		const faults = [], root = document.documentElement;
		if (root.scrollWidth > innerWidth) {
			const wide = [...document.querySelectorAll("main *, header *")].filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, nav, svg, pre, .events"));
			faults.push("it is " + root.scrollWidth + " wide: " + wide.slice(0, 3).map((e) => e.tagName + "#" + e.id + "." + e.className).join(", "));
		}
		const named = (e) => e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim();
		for (const e of document.querySelectorAll("a, button, input, select, textarea, summary, meter")) if (e.checkVisibility() && !named(e)) faults.push("no name: " + e.outerHTML.slice(0, 80));
		for (const e of document.querySelectorAll("main table")) if (e.checkVisibility() && !e.caption && !e.closest("#guide-text")) faults.push("no caption: " + e.outerHTML.slice(0, 80));
		for (const e of document.querySelectorAll("svg[role=img]")) if (e.checkVisibility() && !e.getAttribute("aria-label")) faults.push("a picture without words");
		const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
		if (new Set(ids).size !== ids.length) faults.push("an id twice: " + ids.filter((id, i) => ids.indexOf(id) !== i));
		return faults;
	})()`))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Errorf("%s: %s", what, f)
	}
}

// picture keeps a picture of the whole page where somebody wants to look at it.
func picture(ctx context.Context, t *testing.T, view string, width int64, dark bool) {
	t.Helper()
	folder := os.Getenv("DVMIGRATE_SCREENSHOTS")
	if folder == "" {
		return
	}
	name := fmt.Sprintf("%s-%d", strings.ReplaceAll(view, "/", "-"), width)
	if dark {
		name += "-dark"
	}
	b, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err := errors.Join(err, os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, name+".png"), b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// large is a migration of a hundred million records in a hundred and twenty tables.
type large struct {
	mu    sync.Mutex
	did   []string
	state State
}

func (l *large) actions() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.did)
}
