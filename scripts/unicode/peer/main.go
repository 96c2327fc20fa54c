// What golang.org/x/text makes of JSON strings, one a line: [UsernameCaseMapped, OpaqueString], null for refused.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	"golang.org/x/text/secure/bidirule"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
)

// As precis.UsernameCaseMapped, which asks the Bidi Rule of texts without right-to-left characters, too.
var username = precis.NewIdentifier(precis.FoldWidth, precis.LowerCase(), precis.Norm(norm.NFC))

func main() {
	lines := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			panic(err)
		}
		var answer [2]*string
		if name, err := username.String(text); err == nil && name != "" {
			if bidirule.DirectionString(name) != bidi.RightToLeft || bidirule.ValidString(name) {
				answer[0] = &name
			}
		}
		if opaque, err := precis.OpaqueString.String(text); err == nil {
			answer[1] = &opaque
		}
		if err := out.Encode(answer); err != nil {
			panic(err)
		}
	}
}
