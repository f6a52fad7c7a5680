// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-dev/lazuli"
	"github.com/lazuli-dev/lazuli/internal/azure/resource"
	"github.com/lazuli-dev/lazuli/internal/store/postgres"
)

// Config is everything that the hub can be told. Each field has a key (its
// koanf tag), a default (DefaultConfig) and a sentence for people (its doc
// tag), which `lazuli serve --print-config` prints. Flags win over the
// environment, the environment wins over the file, the file over defaults.
type Config struct {
	// Listen is where the API is served.
	Listen string `koanf:"listen" doc:"address and port of the API (HTTPS)"`
	// DataDir holds the embedded database, keys and certificates. It is made
	// when missing, for this user alone. Hubs that share a PostgreSQL database
	// have a directory each, with the same seal.key in it.
	DataDir string `koanf:"dataDir" doc:"directory of the embedded database, the keys and the certificates"`
	// ProbeInterval is how often a cluster that comes up or goes away is looked at.
	ProbeInterval time.Duration `koanf:"probeInterval" doc:"how often a cluster that is coming up or going away is looked at"`
	// HealthInterval is how often a running cluster is looked at.
	HealthInterval time.Duration `koanf:"healthInterval" doc:"how often a running cluster's API server is asked whether it is well"`
	// BootTimeout is after how long a machine that has not come up is called stuck.
	BootTimeout time.Duration `koanf:"bootTimeout" doc:"after how long a machine that has not come up is called stuck; its serial console is read from half of that on"`
	// ShutdownTimeout bounds how long requests under way may take after a stop.
	ShutdownTimeout time.Duration `koanf:"shutdownTimeout" doc:"how long requests under way may take when the hub stops"`
	// Database is where the state is kept.
	Database DatabaseConfig `koanf:"database"`
	// TLS is the API's certificate.
	TLS TLSConfig `koanf:"tls"`
	// Log is the hub's own log, on standard error.
	Log LogConfig `koanf:"log"`
	// Admin is the first credential.
	Admin AdminConfig `koanf:"admin"`
	// Azure is how to reach Azure.
	Azure AzureConfig `koanf:"azure"`
	// Packs are packs of the operator's own.
	Packs PacksConfig `koanf:"packs"`
}

// PacksConfig adds to the built-in registry.
type PacksConfig struct {
	// Directory holds packs in the form NAME/VERSION/pack.json, read once at the
	// start. Links out of it are not followed.
	Directory string `koanf:"directory" doc:"directory of packs to offer beside the built-in ones, as NAME/VERSION/pack.json; empty offers the built-in ones alone"`
}

// DatabaseConfig chooses between the embedded database, for one hub, and a
// PostgreSQL database, which several hubs may share.
type DatabaseConfig struct {
	// URL is postgres://user:password@host:port/database?parameters; see
	// postgres.Options for the parameters. Empty is the embedded SQLite in
	// DataDir. What is printed of it has no password, which may also come from
	// PGPASSWORD or a file of libpq.
	URL string `koanf:"url" doc:"PostgreSQL database, postgres://USER:PASSWORD@HOST:PORT/NAME; empty keeps the state in the data directory (SQLite, one hub alone)" secret:"url"`
}

// TLSConfig names the API's certificate. Without one, the hub makes a
// certification authority and a certificate in its data directory.
type TLSConfig struct {
	CertFile string `koanf:"certFile" doc:"PEM file of the certificate and its chain; empty makes a self-signed authority in the data directory"`
	KeyFile  string `koanf:"keyFile" doc:"PEM file of the certificate's private key"`
}

// LogConfig is the form of the log.
type LogConfig struct {
	Level  string `koanf:"level" doc:"debug, info, warn or error"`
	Format string `koanf:"format" doc:"text or json"`
}

// AdminConfig is the administrator's first credential.
type AdminConfig struct {
	// APIKey is stored as a hash only. Without one the hub makes a key on the
	// first start and writes it to a file in its data directory.
	APIKey string `koanf:"apiKey" doc:"API key of the administrator; empty makes one on the first start, in DATADIR/admin.key" secret:"true"`
}

// AzureConfig is how to reach Azure.
type AzureConfig struct {
	Environments map[string]Environment `koanf:"environments"`
}

// Environment is one Azure cloud.
type Environment struct {
	ARMURL           string `koanf:"armURL" doc:"Azure Resource Manager of this environment"`
	AuthorityURL     string `koanf:"authorityURL" doc:"Entra ID of this environment"`
	CAFile           string `koanf:"caFile" doc:"PEM file of the authorities to trust; empty trusts the system's"`
	ResolveByAddress bool   `koanf:"resolveByAddress" doc:"reach clusters by address, since their names resolve only inside this environment"`
}

// The environments that are known without configuration. The names are those
// that Palette's clients send; two of them name the US government's cloud.
const (
	EnvPublic        = "AzurePublicCloud"
	EnvUSGovernment  = "AzureUSGovernmentCloud"
	envUSGovernment2 = "AzureUSGovernment"
	EnvChina         = "AzureChinaCloud"
)

// Defaults.
const (
	DefaultListen          = "127.0.0.1:9443"
	defaultProbeInterval   = 2 * time.Second
	defaultHealthInterval  = time.Minute
	defaultBootTimeout     = 12 * time.Minute
	defaultShutdownTimeout = 10 * time.Second
	minInterval            = 10 * time.Millisecond
)

// DefaultConfig returns the configuration without flags, environment or file.
// The addresses of the clouds are those of azcore/cloud (Azure SDK for Go).
func DefaultConfig() Config {
	return Config{
		Listen:          DefaultListen,
		DataDir:         "lazuli-data",
		ProbeInterval:   defaultProbeInterval,
		HealthInterval:  defaultHealthInterval,
		BootTimeout:     defaultBootTimeout,
		ShutdownTimeout: defaultShutdownTimeout,
		Log:             LogConfig{Level: "info", Format: "text"},
		Azure: AzureConfig{Environments: map[string]Environment{
			EnvPublic: {
				ARMURL: "https://management.azure.com", AuthorityURL: "https://login.microsoftonline.com",
			},
			EnvUSGovernment: {
				ARMURL: "https://management.usgovcloudapi.net", AuthorityURL: "https://login.microsoftonline.us",
			},
			EnvChina: {
				ARMURL: "https://management.chinacloudapi.cn", AuthorityURL: "https://login.chinacloudapi.cn",
			},
		}},
	}
}

// Validate reports every value that cannot be used, with its key, as an error
// of lazuli.CodeInvalidField.
func (c Config) Validate() error {
	var f lazuli.Fields
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		f.Add("listen", "%q is not host:port, such as %s", c.Listen, DefaultListen)
	}
	if c.DataDir == "" {
		f.Add("dataDir", "a directory is needed")
	}
	if c.Database.URL != "" {
		if !c.Database.known() {
			f.Add("database.url", "it does not begin with postgres:// or postgresql://")
		} else if err := postgres.ParseURL(c.Database.URL); err != nil {
			f.Add("database.url", "%s; %s", err, lazuli.RemedyOf(err))
		}
	}
	if c.ProbeInterval < minInterval {
		f.Add("probeInterval", "%s is shorter than %s", c.ProbeInterval, minInterval)
	}
	if c.HealthInterval < minInterval {
		f.Add("healthInterval", "%s is shorter than %s", c.HealthInterval, minInterval)
	}
	if c.BootTimeout < minInterval {
		f.Add("bootTimeout", "%s is shorter than %s", c.BootTimeout, minInterval)
	}
	if c.ShutdownTimeout <= 0 {
		f.Add("shutdownTimeout", "must be positive")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		f.Add("tls.certFile", "certFile and keyFile are given together, or neither")
	}
	if _, err := c.Log.level(); err != nil {
		f.Add("log.level", "%q is none of debug, info, warn, error", c.Log.Level)
	}
	if !slices.Contains([]string{"text", "json"}, c.Log.Format) {
		f.Add("log.format", "%q is neither text nor json", c.Log.Format)
	}
	for _, name := range sortedKeys(c.Azure.Environments) {
		c.Azure.Environments[name].validate("azure.environments."+name, &f)
	}
	return f.Err()
}

func (d DatabaseConfig) known() bool {
	return strings.HasPrefix(d.URL, "postgres://") || strings.HasPrefix(d.URL, "postgresql://")
}

func (e Environment) validate(path string, f *lazuli.Fields) {
	for _, u := range []struct{ key, value string }{{"armURL", e.ARMURL}, {"authorityURL", e.AuthorityURL}} {
		parsed, err := url.Parse(u.value)
		if err != nil || parsed.Scheme != "https" || parsed.Host == "" {
			f.Add(path+"."+u.key, "%q is not an https URL", u.value)
		}
	}
}

// Cloud returns the addresses of an environment by its name, compared without
// regard to case; empty is the public cloud. An unknown name is an error of
// lazuli.CodeInvalidField that lists the known ones.
func (c Config) Cloud(name string) (resource.Cloud, error) {
	want := name
	switch {
	case want == "":
		want = EnvPublic
	case strings.EqualFold(want, envUSGovernment2):
		want = EnvUSGovernment
	}
	for _, known := range sortedKeys(c.Azure.Environments) {
		if strings.EqualFold(known, want) {
			e := c.Azure.Environments[known]
			return resource.Cloud{
				Name: known, ARMURL: e.ARMURL, AuthorityURL: e.AuthorityURL,
				CAFile: e.CAFile, ResolveByAddress: e.ResolveByAddress,
			}, nil
		}
	}
	return resource.Cloud{}, &lazuli.Error{
		Code: lazuli.CodeInvalidField,
		Message: fmt.Sprintf("azure environment %q is not configured; known are %s",
			name, strings.Join(sortedKeys(c.Azure.Environments), ", ")),
		Remedy: "choose a known environment, or add it to azure.environments in the hub's configuration",
	}
}

// environments are the names that accounts may have.
func (c Config) environments() []string {
	names := sortedKeys(c.Azure.Environments)
	if _, ok := c.Azure.Environments[EnvUSGovernment]; ok {
		names = append(names, envUSGovernment2)
	}
	return names
}

func (l LogConfig) level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return 0, fmt.Errorf("parse log level: %w", err)
	}
	return level, nil
}

// Paths of what the hub keeps in its data directory.
const (
	databaseName = "lazuli.db"
	sealKeyName  = "seal.key"
	adminKeyName = "admin.key"
	// CAName is the authority's certificate in the directory of SelfSigned.
	CAName = "ca.crt"
)

// AdminKeyFile is where the first API key is written when none was given.
func (c Config) AdminKeyFile() string { return filepath.Join(c.DataDir, adminKeyName) }

// CAFile is the certificate that clients trust the hub by: the authority that
// the hub made, or "" when the operator brought a certificate.
func (c Config) CAFile() string {
	if c.TLS.CertFile != "" {
		return ""
	}
	return filepath.Join(c.DataDir, CAName)
}
