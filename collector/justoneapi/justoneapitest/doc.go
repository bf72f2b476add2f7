// Package justoneapitest is a stand-in for Just One API, in the manner of
// [net/http/httptest]: a server that answers as the vendor documents, counts
// what it is asked and what that would cost, and fails in every way known, for
// one user or for all. Tests and the demo run against it, and reading it is a
// way to learn the API.
//
//	server := justoneapitest.NewServer()
//	defer server.Close()
//	server.Set(472747194, justoneapitest.Stat(justoneapitest.Constant(4153991), 11))
//	server.Set(2, justoneapitest.Code(301, "Collection failed, please try again"))
//	… call server.URL with the token server.Token …
//	server.Tally(472747194) // {Requests: 1, Billed: 1}
//
// A user that nothing was set for does not exist (Bilibili's code -404).
package justoneapitest
