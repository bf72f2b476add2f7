//go:build !unix

package store

// describeOwner describes nothing: these systems have no user IDs.
func describeOwner(string) string { return "" }
