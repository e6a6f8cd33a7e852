package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
)

// credentials say who calls a service that kmsbench did not start. They come
// from a file or the environment, never from the command line, which others on
// the machine can read.
type credentials struct {
	AccessKey    string `json:"access_key"`
	SecretKey    string `json:"secret_key"`
	SessionToken string `json:"session_token"`
	Token        string `json:"token"`
}

// The variables of the environment.
const (
	accessKeyVariable    = "KMSBENCH_ACCESS_KEY"
	secretKeyVariable    = "KMSBENCH_SECRET_KEY"
	sessionTokenVariable = "KMSBENCH_SESSION_TOKEN"
	tokenVariable        = "KMSBENCH_TOKEN"
)

// readCredentials reads the file, if there is one, and fills what it leaves out
// from the environment. A dev.json is such a file, too.
func readCredentials(file string) (credentials, error) {
	var c credentials
	if file != "" {
		text, err := config.ReadSecret(file, os.Getenv("CREDENTIALS_DIRECTORY"))
		if err != nil {
			return c, err
		}
		err = json.Unmarshal(text, &c)
		clear(text)
		if err != nil { // its text may quote the file
			return c, fmt.Errorf("reading the credentials: %s is no JSON object with access_key and secret_key, or token", file)
		}
	}
	c.AccessKey = cmp.Or(c.AccessKey, os.Getenv(accessKeyVariable))
	c.SecretKey = cmp.Or(c.SecretKey, os.Getenv(secretKeyVariable))
	c.SessionToken = cmp.Or(c.SessionToken, os.Getenv(sessionTokenVariable))
	c.Token = cmp.Or(c.Token, os.Getenv(tokenVariable))
	return c, nil
}

var (
	errNoKey   = errors.New("the access key is missing: set " + accessKeyVariable + " and " + secretKeyVariable + ", or name a file with access_key and secret_key by --credentials-file")
	errNoToken = errors.New("the token is missing: set " + tokenVariable + ", or name a file with token by --credentials-file")
)

func (c credentials) key() error {
	if c.AccessKey == "" || c.SecretKey == "" {
		return errNoKey
	}
	return nil
}

func (c credentials) token() error {
	if c.Token == "" {
		return errNoToken
	}
	return nil
}
