package cli

import (
	_ "embed"
	"html/template"
	"io"
	"slices"
	"time"

	"dvmigrate/appliance"
)

//go:embed estimate.html
var estimatePage string

// writeEstimatePage writes one self-contained page: no script, nothing that it loads.
func writeEstimatePage(w io.Writer, project string, e appliance.Estimate) error {
	type bar struct {
		appliance.EstimateRow
		Left, Width, LowWidth, HighWidth, Y float64
	}
	page := struct {
		Project string
		appliance.Estimate
		Bars    []bar
		Sources []string // of the figures, once each
		Ticks   []tick
		Height  float64
		Today   time.Time
	}{Project: project, Estimate: e, Today: time.Now()}
	const width = 760.0
	whole := max(e.Seconds, 1e-9)
	for _, r := range e.Rows {
		if r.Operations == 0 {
			continue
		}
		page.Bars = append(page.Bars, bar{r, r.Start / whole * width, max(r.Seconds/whole*width, 1), r.Low / whole * width, r.High / whole * width, float64(len(page.Bars)) * 22})
	}
	for _, b := range page.Bars {
		if text := b.Basis + ": " + b.Note; !slices.Contains(page.Sources, text) {
			page.Sources = append(page.Sources, text)
		}
	}
	page.Height = float64(len(page.Bars))*22 + 24
	page.Ticks = ticks(whole, width)
	t, err := template.New("estimate").Funcs(template.FuncMap{
		"duration": duration, "span": span, "saved": saved, "count": count[int64], "size": size, "percent": func(f float64) float64 { return 100 * f },
		"add": func(a, b float64) float64 { return a + b }, "fits": func(b *bool) string {
			switch {
			case b == nil:
				return ""
			case *b:
				return "yes"
			}
			return "no"
		}, "hours": func(s float64) float64 { return s / 3600 },
	}).Parse(estimatePage)
	if err != nil {
		return err
	}
	return t.Execute(w, page)
}

type tick struct {
	X    float64
	Text string
}

// ticks are about six round times along the axis.
func ticks(whole, width float64) []tick {
	step := 1.0
	for _, s := range []float64{1, 5, 10, 30, 60, 300, 600, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400} {
		step = s
		if whole/s <= 7 {
			break
		}
	}
	var out []tick
	for at := 0.0; at <= whole && len(out) < 40; at += step {
		out = append(out, tick{at / whole * width, duration(at)})
	}
	return out
}
