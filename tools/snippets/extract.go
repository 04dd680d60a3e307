package main

import (
	"fmt"
	"regexp"
	"strings"
)

// A block is a fenced code block and the settings in the comment before it.
type block struct {
	file        string
	line        int // of the first line inside the fence
	language    string
	code        string
	prelude     string // hidden Go code before the block
	preludeLine int
	skip        string // the reason why it is not compiled
	run         bool   // whether its commands, or its program, are run
	output      string // the expected output of a Go program that is run
}

func (b block) place() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

var (
	fence    = regexp.MustCompile("^( *)(`{3,}|~{3,}) *([A-Za-z0-9_+-]*)[^`]*$")
	hidden   = regexp.MustCompile(`(?s)^<!--\s*snippet\b:?[ \t]*(.*?)-->$`)
	skipping = regexp.MustCompile(`(?s)^<!--\s*snippet\s+skip\b:?\s*(.*?)\s*-->$`)
	running  = regexp.MustCompile(`(?s)^<!--\s*run\b:?\s*(.*?)\s*-->$`)
)

// extract returns the blocks of a Markdown text to compile, to run or to skip.
func extract(file, text string) ([]block, error) {
	var blocks []block
	lines := strings.Split(text, "\n")
	comment, commentLine := "", 0
	for i := 0; i < len(lines); i++ {
		trimmed := strings.TrimSpace(lines[i])
		switch open := fence.FindStringSubmatch(lines[i]); {
		case open != nil:
			code, next, err := fenced(lines, i, open)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
			}
			b := block{file: file, line: i + 2, language: open[3], code: code}
			if err := b.annotate(comment, commentLine); err != nil {
				return nil, err
			}
			if b.language == "go" || b.run {
				blocks = append(blocks, b)
			}
			comment, i = "", next
		case strings.HasPrefix(trimmed, "<!--"):
			end := i
			for end < len(lines) && !strings.Contains(lines[end], "-->") {
				end++
			}
			if end == len(lines) {
				return nil, fmt.Errorf("%s:%d: the comment has no end", file, i+1)
			}
			comment, commentLine = strings.TrimSpace(strings.Join(lines[i:end+1], "\n")), i+1
			i = end
		case trimmed != "":
			comment = ""
		}
	}
	return blocks, nil
}

// fenced returns the text inside the fence that opens at line start, without the
// indentation of the fence, and the line on which the fence closes.
func fenced(lines []string, start int, open []string) (code string, end int, err error) {
	indent, marker := open[1], open[2]
	var body []string
	for i := start + 1; i < len(lines); i++ {
		if closing := strings.TrimSpace(lines[i]); len(closing) >= len(marker) && strings.Trim(closing, marker[:1]) == "" {
			return strings.Join(body, "\n"), i, nil
		}
		body = append(body, strings.TrimPrefix(lines[i], indent))
	}
	return "", 0, fmt.Errorf("the code block has no end")
}

// annotate sets what the comment before the block says.
func (b *block) annotate(comment string, line int) error {
	if m := skipping.FindStringSubmatch(comment); m != nil {
		if m[1] == "" {
			return fmt.Errorf("%s:%d: snippet skip has no reason: write <!-- snippet skip: reason -->", b.file, line)
		}
		b.skip = m[1]
		return nil
	}
	if m := hidden.FindStringSubmatchIndex(comment); m != nil {
		if b.language != "go" {
			return fmt.Errorf("%s:%d: a snippet comment must be before a block with the language go", b.file, line)
		}
		b.prelude = comment[m[2]:m[3]]
		b.preludeLine = line + strings.Count(comment[:m[2]], "\n")
	}
	if m := running.FindStringSubmatch(comment); m != nil {
		switch {
		case b.language != "sh" && b.language != "console" && b.language != "go":
			return fmt.Errorf("%s:%d: a run comment must be before a block with the language go, sh or console", b.file, line)
		case b.language == "go" && m[1] == "":
			return fmt.Errorf("%s:%d: a run comment before Go must have the expected output: <!-- run: hello -->", b.file, line)
		case b.language != "go" && m[1] != "":
			return fmt.Errorf("%s:%d: only a run comment before Go can have an expected output", b.file, line)
		}
		b.run, b.output = true, m[1]
	}
	return nil
}
