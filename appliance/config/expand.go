package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	reference    = regexp.MustCompile(secretForm)
)

// secretForm is what a secret looks like in the file: one reference and nothing else.
const secretForm = `^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`

// expand replaces ${NAME} from the environment, once: what a variable holds is not
// looked at again. $${ stands for ${ itself, any other $ for itself.
func expand(text string, env func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			return b.String(), nil
		}
		if strings.HasSuffix(before, "$") {
			b.WriteString(before + "{")
			text = rest
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || !variableName.MatchString(name) {
			return "", fmt.Errorf("has a ${ without a variable's name and }")
		}
		value, ok := env(name)
		if !ok {
			return "", errors.New(notSet(name))
		}
		b.WriteString(before + value)
		text = after
	}
}

// notSet says that a setting needs a variable, and unsetHint what to do.
func notSet(name string) string {
	return "needs the environment variable " + name + ", which is not set"
}

const unsetHint = "set it before the command, as in: export NAME=value"
