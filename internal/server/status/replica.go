package status

import "time"

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

func (r renderer) newReplicaCard() *replicaCard {
	replica := r.Replica
	if replica == nil {
		return nil
	}
	switch {
	case replica.Active:
		return &replicaCard{
			r.Text("This replica, %s, has been active for %s.", replica.Name, r.duration(r.Now.Sub(replica.Since))),
			r.Text("The others are on standby: they expose the same values and send no requests."),
		}
	case replica.Held:
		return &replicaCard{
			r.Text("This replica, %s, is on standby. As of the last scrape, %s has been active for %s.",
				replica.Name, replica.Holder, r.duration(max(0, latest(r.LastScrape, r.Started).Sub(replica.Since)))),
			r.Text("This replica becomes active at a scrape when the other one stops or has not been scraped for 150 s."),
		}
	default:
		return &replicaCard{
			r.Text("No replica is active."),
			r.Text("This replica, %s, becomes active at its next scrape if it can.", replica.Name),
		}
	}
}
