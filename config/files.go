package config

import (
	"errors"
	"io/fs"
	"path/filepath"

	promconfig "github.com/prometheus/common/config"
)

// checkFiles records the files of a configuration that cannot be used. They are read again later.
func (p *parser) checkFiles() {
	if path := p.config.API.TokenFile; path != "" {
		_, err := readTokenFile(path)
		name := filepath.Base(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && looksLikeToken(name):
			p.api.invalid("token_file", "the file does not exist; it looks like a token, which belongs in the key token")
		case err != nil:
			p.api.invalid("token_file", "%s", fileError(err))
		}
	}
	p.checkTLSFiles(&p.config.API.HTTPClient.TLSConfig)
}

// checkTLSFiles records the files of a TLS configuration that cannot be used.
func (p *parser) checkTLSFiles(config *promconfig.TLSConfig) {
	const maxSize = 1 << 20
	s := p.api.sub("http_client").sub("tls_config")
	ok := true
	for _, file := range []struct{ key, path string }{
		{"ca_file", config.CAFile}, {"cert_file", config.CertFile}, {"key_file", config.KeyFile},
	} {
		if file.path == "" {
			continue
		}
		if _, err := readFile(file.path, maxSize); err != nil {
			s.invalid(file.key, "%s", fileError(err))
			ok = false
		}
	}
	if !ok || len(p.found) > 0 {
		return
	}
	if _, err := promconfig.NewTLSConfig(config); err != nil {
		s.fail(s.line, s.path, "%v", err)
	}
}
