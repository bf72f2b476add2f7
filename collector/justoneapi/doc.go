// Package justoneapi is a client for the one endpoint of Just One API that
// this exporter needs: Bilibili "User Relation Stats (V1)",
//
//	GET {base}/api/bilibili/get-user-relation-stat/v1?token=…&wmid=…
//
// Two things shape it. Every answer may be billed, so that one call of
// [Client.RelationStat] is at most one request on the wire, and every failure
// says what is known about its bill. And the access token is a parameter of
// the URL, so that nothing which leaves this package, errors above all, may
// hold the URL or the token.
package justoneapi
