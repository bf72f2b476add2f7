package justoneapitest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Exchange is one request and the way to answer it.
type Exchange struct {
	http.ResponseWriter
	*http.Request
	WMID   int64 // the user asked for; 0 if the request names none
	Reused bool  // whether the connection has carried a request before

	api *API
}

// Response answers one request.
type Response func(*Exchange)

// relation is Bilibili's answer inside the envelope.
type relation struct {
	Code    int           `json:"code"`
	Message string        `json:"message"`
	TTL     int           `json:"ttl"`
	Data    *relationData `json:"data,omitempty"`
}

type relationData struct {
	MID        int64 `json:"mid"`
	Following  int64 `json:"following"`
	Whisper    int64 `json:"whisper"`
	Black      int64 `json:"black"`
	Follower   int64 `json:"follower"`
	FansMedal  any   `json:"fans_medal_toast"`
	FansEffect any   `json:"fans_effect"`
}

// Stat is the successful answer: the followers at the time of the call, and
// the following.
func Stat(followers Series, following int64) Response {
	return func(x *Exchange) { x.stat(x.WMID, followers(time.Now()), following) }
}

// OtherUser is a successful answer, for the user mid whoever was asked for.
func OtherUser(mid int64) Response {
	return func(x *Exchange) { x.stat(mid, 1, 1) }
}

// Code is an envelope with a business code other than 0, at HTTP status 200.
func Code(code int, message string) Response {
	return StatusCode(http.StatusOK, code, message)
}

// StatusCode is an envelope with a business code other than 0, at any HTTP status.
func StatusCode(status, code int, message string) Response {
	return func(x *Exchange) { x.envelope(status, code, message, nil) }
}

// BilibiliCode is a successful, hence billed, envelope around a code of
// Bilibili's other than 0.
func BilibiliCode(code int, message string) Response {
	return func(x *Exchange) {
		x.envelope(http.StatusOK, 0, "", relation{Code: code, Message: message, TTL: 1})
	}
}

// Data is a successful envelope whose member data is the given JSON text, in
// which {wmid} stands for the user asked for.
func Data(text string) Response {
	return func(x *Exchange) {
		data := strings.ReplaceAll(text, "{wmid}", strconv.FormatInt(x.WMID, 10))
		x.envelope(http.StatusOK, 0, "", json.RawMessage(data))
	}
}

// Body is a body of any kind, at any HTTP status: a gateway's error page, say.
func Body(status int, contentType, body string) Response {
	return func(x *Exchange) {
		x.Header().Set("Content-Type", contentType)
		x.WriteHeader(status)
		x.write(body)
	}
}

// Redirect sends the client elsewhere.
func Redirect(location string) Response {
	return func(x *Exchange) {
		x.ResponseWriter.Header().Set("Location", location)
		x.WriteHeader(http.StatusFound)
	}
}

// Latency is the answer then, after a while; nothing if the client leaves.
func Latency(d time.Duration, then Response) Response {
	return func(x *Exchange) {
		select {
		case <-x.Context().Done():
		case <-time.After(d):
			then(x)
		}
	}
}

// Hang never answers; it ends when the client leaves.
func Hang() Response {
	return func(x *Exchange) { <-x.Context().Done() }
}

// CutBefore closes the connection without an answer.
func CutBefore() Response {
	return func(*Exchange) { panic(http.ErrAbortHandler) }
}

// Reset closes the connection without an answer and without good manners.
func Reset() Response {
	return func(x *Exchange) {
		conn, _, err := http.NewResponseController(x.ResponseWriter).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0) //nolint:errcheck // it is about to be closed
		}
		conn.Close()
	}
}

// SwitchProtocols leaves HTTP, and keeps the connection open until the client
// closes it.
func SwitchProtocols() Response {
	return func(x *Exchange) {
		conn, buffered, err := http.NewResponseController(x.ResponseWriter).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: none\r\n\r\n")
		buffered.ReadByte() //nolint:errcheck // it ends when the client closes
	}
}

// CutMiddle promises a whole answer, which is billed, and sends half of it.
func CutMiddle() Response {
	return func(x *Exchange) {
		x.api.bill(x.WMID)
		x.Header().Set("Content-Length", "200")
		x.write(`{"code":0,"message":null,"data":{"code":0,"data":{"mid":`)
		http.NewResponseController(x.ResponseWriter).Flush() //nolint:errcheck // it is about to be cut
		panic(http.ErrAbortHandler)
	}
}

// CutReused closes a connection that has carried a request before, without an
// answer; on a new connection it is the answer first. It is what a client
// meets whose kept connection the server has given up, and what tempts
// [http.Transport] to send a request again.
func CutReused(first Response) Response {
	return func(x *Exchange) {
		if x.Reused {
			panic(http.ErrAbortHandler)
		}
		first(x)
	}
}

// Trickle sends an answer byte by byte and never ends it.
func Trickle(every time.Duration) Response {
	return func(x *Exchange) {
		x.write(`{"code":0,"message":"`)
		for x.Context().Err() == nil {
			x.write(".")
			http.NewResponseController(x.ResponseWriter).Flush() //nolint:errcheck // the client may have left
			select {
			case <-x.Context().Done():
			case <-time.After(every):
			}
		}
	}
}

// Endless sends an answer without an end as fast as the client reads it.
func Endless() Response {
	return func(x *Exchange) {
		chunk := strings.Repeat(" ", 1<<14)
		for x.Context().Err() == nil {
			x.write(chunk)
		}
	}
}

// HugeHeader sends a response header of the given number of bytes.
func HugeHeader(bytes int) Response {
	return func(x *Exchange) {
		x.ResponseWriter.Header().Set("X-Huge", strings.Repeat("x", bytes))
		x.stat(x.WMID, 1, 1)
	}
}

// Header returns the header of the response.
func (x *Exchange) Header() http.Header { return x.ResponseWriter.Header() }

func (x *Exchange) write(text string) {
	fmt.Fprint(x.ResponseWriter, text)
}

func (x *Exchange) stat(mid, followers, following int64) {
	x.envelope(http.StatusOK, 0, "", relation{
		Message: "0", TTL: 1,
		Data: &relationData{MID: mid, Follower: followers, Following: following},
	})
}

// envelope writes the vendor's envelope and bills it if its code says so.
func (x *Exchange) envelope(status, code int, message string, data any) {
	if code == 0 || code == 201 {
		x.api.bill(x.WMID)
	}
	body, err := json.Marshal(map[string]any{
		"code":       code,
		"message":    message,
		"recordTime": time.Now().Format(time.RFC3339),
		"requestId":  fmt.Sprintf("stand-in-%d-%d", x.WMID, code),
		"data":       data,
	})
	if err != nil {
		panic(err) // a mistake in a test
	}
	Body(status, "application/json", string(body))(x)
}
