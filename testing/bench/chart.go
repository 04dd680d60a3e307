package main

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

const (
	chartWidth = 960
	labelWidth = 330
	barHeight  = 18
	lineHeight = 24
	titleSpace = 44
)

// draw writes the results as a bar chart in SVG. The rates of one scenario can differ by a factor of a
// thousand, so the scale is logarithmic. It starts at a tenth of the slowest rate.
func draw(w io.Writer, results []result) error {
	height := 20
	for _, r := range results {
		height += titleSpace + len(r.Rows)*lineHeight
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n",
		chartWidth, height, chartWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", chartWidth, height)
	y := 0
	for _, r := range results {
		y += titleSpace
		fmt.Fprintf(&b, `<text x="10" y="%d" font-weight="bold" font-size="15">%s: %s (%s, logarithmic)</text>`+"\n",
			y-12, html.EscapeString(r.Group), html.EscapeString(r.Name), html.EscapeString(r.Unit))
		least, most := math.Inf(1), 0.0
		for _, row := range r.Rows {
			least, most = min(least, row.Median.Rate), max(most, row.Median.Rate)
		}
		length := scale(least/10, most)
		for _, row := range r.Rows {
			color := "#9aa5b1"
			if row.Ours {
				color = "#1f6feb"
			}
			long := length(row.Median.Rate)
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, y+14, html.EscapeString(row.Peer))
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, labelWidth, y, long, barHeight, color)
			low, high := length(row.Lowest), length(row.Most)
			fmt.Fprintf(&b, `<path d="M%.1f %dH%.1f" stroke="#24292f" stroke-width="1.5"/>`, labelWidth+low, y+barHeight/2, labelWidth+high)
			fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", labelWidth+max(long, high)+8, y+14, count(row.Median.Rate))
			y += lineHeight
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// scale returns a function that returns the length of the bar of a value.
func scale(least, most float64) func(float64) float64 {
	const longest = chartWidth - labelWidth - 80
	if least <= 0 || most <= least {
		return func(float64) float64 { return longest }
	}
	return func(v float64) float64 {
		return longest * math.Log(max(v, least)/least) / math.Log(most/least)
	}
}
