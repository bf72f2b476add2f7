package status

import (
	"fmt"
	"time"
)

// Replica is the part that this process has among the replicas of an exporter.
type Replica struct {
	Name    string    // of this one
	Active  bool      // whether this one is active
	Holder  string    // name of the one that is or was active; empty if none has been
	Held    bool      // whether it still is
	Since   time.Time // when it became active
	Refused string    // why this one cannot become active; empty if it can
}

// replicaCard says which replica is active, since when and, if it is not this one, why.
type replicaCard struct{ Text, Detail string }

func newReplicaCard(data Data) *replicaCard {
	r := data.Replica
	if r == nil {
		return nil
	}
	since := formatDuration(data.Now.Sub(r.Since))
	switch {
	case r.Active:
		return &replicaCard{
			fmt.Sprintf("This replica, %s, has been active for %s.", r.Name, since),
			"The others are on standby: they expose the same values and send no requests.",
		}
	case r.Held:
		return &replicaCard{
			fmt.Sprintf("This replica, %s, is on standby. %s has been active for %s.", r.Name, r.Holder, since),
			"This replica becomes active at a scrape when the other one stops or has not been scraped for 150 s.",
		}
	default:
		return &replicaCard{
			"No replica is active.",
			fmt.Sprintf("This replica, %s, becomes active at its next scrape if it can.", r.Name),
		}
	}
}
