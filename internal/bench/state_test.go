//go:build bench

package bench

import (
	"context"
	"strings"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/quota"
	"github.com/bilibili-exporter/bilibili_exporter/collector/store"
	"github.com/bilibili-exporter/bilibili_exporter/config"
)

// measureState measures how long a startup takes to read the state of all users, in the store and in the guard.
func (b *bench) measureState(users int) {
	text, dir := b.api.config(users, time.Hour), b.t.TempDir()
	s := b.newExporter(text, storage{dir: dir})
	b.scrape(s, users, longTimeout)
	s.close()
	limits := b.limits(text)
	var opened, restored []time.Duration
	for range b.rounds {
		var state *store.Store
		var contents store.Contents
		opened = append(opened, measure(func() {
			var err error
			if state, contents, err = store.Open(store.Config{Dir: dir}); err != nil {
				b.t.Fatal(err)
			}
		}))
		var guard *quota.Guard
		restored = append(restored, measure(func() {
			guard = quota.New(quota.Config{Limits: limits, Store: state, Records: contents.Records, Term: contents.Term})
		}))
		if got := len(guard.Users()); got != users || guard.Users()[users-1].Value.At.IsZero() {
			b.t.Fatalf("got %d users or no values", got)
		}
		state.Close(context.Background())
	}
	b.table.set("startup: reading the state, store", "", users, "%.1f ms", milliseconds(median(opened)))
	b.table.set("startup: reading the state, guard", "≤ 80 ms in all", users, "%.1f ms", milliseconds(median(restored)))
}

// limits returns the guard's limits for a configuration.
func (b *bench) limits(text string) quota.Limits {
	cfg, err := config.Parse("b.yml", strings.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	limits := quota.Limits{RetryInterval: time.Minute, Zone: time.UTC}
	for _, user := range cfg.Users {
		limits.Users = append(limits.Users, quota.User{WMID: user.WMID, MinInterval: time.Duration(user.MinInterval)})
	}
	return limits
}
