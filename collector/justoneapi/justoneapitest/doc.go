// Package justoneapitest provides a stand-in for Just One API, in the manner of [net/http/httptest]: a server that
// responds as the vendor documents, counts requests and what the vendor would bill, and can fail in every known way,
// for one user or for all. Tests and the demo use it.
//
//	server := justoneapitest.NewServer()
//	defer server.Close()
//	server.Set(472747194, justoneapitest.Stat(justoneapitest.Constant(4153991), 11))
//	server.Set(2, justoneapitest.Code(301, "Collection failed, please try again"))
//	… send requests to server.URL with the token justoneapitest.Token …
//	server.Tally(472747194) // {Requests: 1, Billed: 1}
//
// Users without a response of their own do not exist (Bilibili's code -404).
package justoneapitest
