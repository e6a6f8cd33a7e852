package device

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
)

// MakeDirectories makes the data directory and what lies below it. Directories
// elsewhere are not made: on a medium that is not mounted they would hide it.
func MakeDirectories(c *config.Config) error {
	dirs := []string{c.Node.DataDir}
	if c.Module.Kind == "soft" {
		for _, file := range []string{c.Module.Soft.RootsFile, c.Module.Soft.PrivateKeyFile, c.Module.Soft.UnlockKeyFile} {
			if strings.HasPrefix(file, c.Node.DataDir+string(filepath.Separator)) {
				dirs = append(dirs, filepath.Dir(file))
			}
		}
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the data directory: %w", err)
		}
	}
	return nil
}
