// Command key-agent is an ssh-agent with one new Ed25519 key in memory, for witnesses that sign through one.
//
//	key-agent SOCKET
//
// It prints the key's fingerprint and serves until it is ended.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func fail(err error) {
	fmt.Fprintln(os.Stderr, "key-agent:", err)
	os.Exit(1)
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: key-agent SOCKET")
		os.Exit(2)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		fail(err)
	}
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		fail(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		fail(err)
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		fail(err)
	}
	fmt.Println(ssh.FingerprintSHA256(signer.PublicKey()))
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go agent.ServeAgent(keyring, connection)
	}
}
