package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// EnvironmentPrefix begins the name of every environment variable of kmsd.
const EnvironmentPrefix = "RAFTKMS_"

// A field is one leaf of [Config].
type field struct {
	path  string // as in the YAML file, joined with dots: api.listen
	help  string
	value reflect.Value
}

// fields lists the leaves of c in the order of the structure.
func fields(c *Config) []field {
	return leaves(nil, "", reflect.ValueOf(c).Elem())
}

func leaves(list []field, prefix string, v reflect.Value) []field {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("yaml"), ",")
		path := prefix + name
		if v.Field(i).Kind() == reflect.Struct {
			list = leaves(list, path+".", v.Field(i))
			continue
		}
		list = append(list, field{path: path, help: tag.Get("help"), value: v.Field(i)})
	}
	return list
}

// environment is the variable that overrides the field: RAFTKMS_API_LISTEN.
func (f field) environment() string {
	return EnvironmentPrefix + strings.ToUpper(strings.ReplaceAll(f.path, ".", "_"))
}

// flag is the command-line flag that overrides the field: api-listen.
func (f field) flag() string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(f.path)
}

// set gives the field a value from text.
func (f field) set(text string) error {
	switch f.value.Interface().(type) {
	case string:
		f.value.SetString(text)
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration such as 10s", text)
		}
		f.value.SetInt(int64(d))
	case int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		f.value.SetInt(int64(n))
	case int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		f.value.SetInt(n)
	case bool:
		yes, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q must be true or false", text)
		}
		f.value.SetBool(yes)
	case []string:
		f.value.Set(reflect.ValueOf(strings.Split(text, ",")))
	case map[string]string:
		pairs, err := parsePairs(text)
		if err != nil {
			return err
		}
		f.value.Set(reflect.ValueOf(pairs))
	default:
		return fmt.Errorf("a setting of type %s can be given in the file only", f.value.Type())
	}
	return nil
}

// parsePairs reads NAME=VALUE,NAME=VALUE.
func parsePairs(text string) (map[string]string, error) {
	pairs := make(map[string]string)
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not of the form NAME=VALUE,NAME=VALUE", text)
		}
		pairs[name] = value
	}
	return pairs, nil
}

// applyEnvironment lays the variables of environ ("NAME=VALUE") over c. A
// variable that begins like one of a section but is none is refused: it is a
// misspelt setting.
func applyEnvironment(c *Config, environ []string) error {
	known := make(map[string]field)
	sections := make(map[string]bool)
	for _, f := range fields(c) {
		known[f.environment()] = f
		if section, _, ok := strings.Cut(f.path, "."); ok {
			sections[EnvironmentPrefix+strings.ToUpper(section)+"_"] = true
		}
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if f, ok := known[name]; ok {
			if err := f.set(value); err != nil {
				return fmt.Errorf("environment variable %s: %w", name, err)
			}
			continue
		}
		for section := range sections {
			if strings.HasPrefix(name, section) {
				return fmt.Errorf("environment variable %s is no setting of kmsd", name)
			}
		}
	}
	return nil
}

// AddFlags defines one flag per field on a flag set.
func AddFlags(set *pflag.FlagSet) {
	for _, f := range fields(new(Config)) {
		set.String(f.flag(), "", f.help)
		set.Lookup(f.flag()).DefValue = ""
	}
}

// applyFlags lays the flags that were given over c.
func applyFlags(c *Config, set *pflag.FlagSet) error {
	for _, f := range fields(c) {
		given := set.Lookup(f.flag())
		if given == nil || !given.Changed {
			continue
		}
		if err := f.set(given.Value.String()); err != nil {
			return fmt.Errorf("flag --%s: %w", f.flag(), err)
		}
	}
	return nil
}
