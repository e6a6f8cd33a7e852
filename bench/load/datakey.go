package load

import (
	"encoding/json"
	"fmt"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
)

// DataKeyRequest is the path and body of create-datakey for a key: the call
// whose rate is raftkms's main number.
func DataKeyRequest(projectID, keyID string) (path string, body []byte, err error) {
	return kmsRequest(projectID, "create-datakey", struct {
		KeyID string `json:"key_id"`
	}{keyID})
}

// DataKeysRequest is the path and body of create-datakeys for a key.
func DataKeysRequest(projectID, keyID string, count int) (path string, body []byte, err error) {
	return kmsRequest(projectID, "create-datakeys", struct {
		KeyID string `json:"key_id"`
		Count int    `json:"count"`
	}{keyID, count})
}

func kmsRequest(projectID, verb string, of any) (path string, body []byte, err error) {
	if body, err = json.Marshal(of); err != nil {
		return "", nil, fmt.Errorf("encoding the request: %w", err)
	}
	return "/v1.0/" + projectID + "/kms/" + verb, body, nil
}

// NewDataKeyPoster prepares create-datakey on all nodes of a dev cluster.
func NewDataKeyPoster(file *devfile.File, keyID string, workers int) (*Poster, error) {
	ca, err := client.ReadCA(file.CAFile)
	if err != nil {
		return nil, err
	}
	path, body, err := DataKeyRequest(file.ProjectID, keyID)
	if err != nil {
		return nil, err
	}
	return NewPoster(PosterConfig{
		URLs: file.URLs(), CA: ca, Path: path, Body: body,
		AccessKey: file.AccessKey, SecretKey: file.SecretKey, Workers: workers,
	})
}
