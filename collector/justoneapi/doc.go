// Package justoneapi is a client for one endpoint of Just One API, Bilibili "User Relation Stats (V1)":
//
//	GET {base}/api/bilibili/get-user-relation-stat/v1?token=…&wmid=…
//
// A successful response is the vendor's envelope around Bilibili's own response, each with a code of its own:
//
//	{"code":0,"message":…,"recordTime":…,"requestId":…,
//	 "data":{"code":0,"message":"0","ttl":1,"data":{"mid":472747194,"following":11,"follower":4153991,…}}}
//
// Any response may be billed. So one call of [Client.RelationStat] sends at most one request, and every error says
// what is known about billing. The access token is a parameter of the URL. So nothing that leaves this package,
// errors included, contains the URL or the token.
//
// Sources: the vendor's page of the endpoint, its OpenAPI document (August 2026) and its usage guide (June 2025).
package justoneapi
