// Command check-proof asks torchwood whether a leaf is where a C2SP tlog-proof says, under a checkpoint that a policy accepts.
//
//	check-proof POLICY LEAF PROOF
//
// Exit code 0 if so, 1 with the reason if not.
package main

import (
	"fmt"
	"os"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

func read(path string) []byte {
	content, err := os.ReadFile(path)
	if err != nil {
		fail(err)
	}
	return content
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "check-proof:", err)
	os.Exit(1)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: check-proof POLICY LEAF PROOF")
		os.Exit(2)
	}
	policy, err := torchwood.ParsePolicy(read(os.Args[1]))
	if err != nil {
		fail(err)
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(read(os.Args[2])), read(os.Args[3])); err != nil {
		fail(err)
	}
	fmt.Println("the proof holds")
}
