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

// Exchange is a request and the means to respond to it.
type Exchange struct {
	http.ResponseWriter
	*http.Request
	WMID   int64 // the requested user; 0 for the balance, and if the parameter is missing or invalid
	Reused bool  // whether the connection has carried a request before

	api *API
}

// Response responds to a request.
type Response func(*Exchange)

// relation is Bilibili's own response inside the envelope.
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

// Stat is a successful response with the followers at the time of the request.
func Stat(followers Series, following int64) Response {
	return func(x *Exchange) { x.stat(x.WMID, followers(time.Now()), following) }
}

// OtherUser is a successful response about the user mid, whichever user is requested.
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

// BilibiliCode is a successful, therefore billed, envelope with a Bilibili code other than 0.
func BilibiliCode(code int, message string) Response {
	return func(x *Exchange) {
		x.envelope(http.StatusOK, 0, "", relation{Code: code, Message: message, TTL: 1})
	}
}

// Data is a successful envelope whose member data is a JSON text. In it, {wmid} is replaced by the requested user.
func Data(text string) Response {
	return func(x *Exchange) {
		data := strings.ReplaceAll(text, "{wmid}", strconv.FormatInt(x.WMID, 10))
		x.envelope(http.StatusOK, 0, "", json.RawMessage(data))
	}
}

// Body is any body at any HTTP status, for example a gateway's error page.
func Body(status int, contentType, body string) Response {
	return func(x *Exchange) {
		x.Header().Set("Content-Type", contentType)
		x.WriteHeader(status)
		x.write(body)
	}
}

// RetryAfter is the response next with the header Retry-After, in seconds or as a date.
func RetryAfter(value string, next Response) Response {
	return func(x *Exchange) {
		x.Header().Set("Retry-After", value)
		next(x)
	}
}

// Redirect is an HTTP redirect.
func Redirect(location string) Response {
	return func(x *Exchange) {
		x.Header().Set("Location", location)
		x.WriteHeader(http.StatusFound)
	}
}

// Latency is the response next after a delay, or nothing if the client disconnects before.
func Latency(d time.Duration, next Response) Response {
	return func(x *Exchange) {
		select {
		case <-x.Context().Done():
		case <-time.After(d):
			next(x)
		}
	}
}

// Hang never responds. It returns when the client disconnects.
func Hang() Response {
	return func(x *Exchange) { <-x.Context().Done() }
}

// CutBefore closes the connection without a response.
func CutBefore() Response {
	return func(*Exchange) { panic(http.ErrAbortHandler) }
}

// Reset resets the connection without a response.
func Reset() Response {
	return func(x *Exchange) {
		conn := x.hijack()
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0) //nolint:errcheck // it is closed next
		}
		conn.Close()
	}
}

// SwitchProtocols responds with HTTP status 101 and keeps the connection open until the client closes it.
func SwitchProtocols() Response {
	return func(x *Exchange) {
		conn := x.hijack()
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: none\r\n\r\n")
		conn.Read(make([]byte, 1)) //nolint:errcheck // it returns when the client closes the connection
	}
}

// CutMiddle closes the connection in the middle of a response that is billed.
func CutMiddle() Response {
	return func(x *Exchange) {
		x.api.bill(x)
		x.Header().Set("Content-Length", "200")
		x.write(`{"code":0,"message":null,"data":{"code":0,"data":{"mid":`)
		x.flush()
		panic(http.ErrAbortHandler)
	}
}

// CutReused closes a reused connection without a response; on a new connection it is the response first. This is what
// happens when the server closes an idle connection just as the client reuses it, and what makes [http.Transport] send
// a request again.
func CutReused(first Response) Response {
	return func(x *Exchange) {
		if x.Reused {
			panic(http.ErrAbortHandler)
		}
		first(x)
	}
}

// Trickle sends a response byte by byte, without an end.
func Trickle(every time.Duration) Response {
	return func(x *Exchange) {
		x.write(`{"code":0,"message":"`)
		for x.Context().Err() == nil {
			x.write(".")
			x.flush()
			select {
			case <-x.Context().Done():
			case <-time.After(every):
			}
		}
	}
}

// Endless sends a response without an end, as fast as the client reads it.
func Endless() Response {
	return func(x *Exchange) {
		chunk := strings.Repeat(" ", 1<<14)
		for x.Context().Err() == nil {
			x.write(chunk)
		}
	}
}

// HugeHeader is a successful response with a header of that many bytes.
func HugeHeader(bytes int) Response {
	return func(x *Exchange) {
		x.Header().Set("X-Huge", strings.Repeat("x", bytes))
		x.stat(x.WMID, 1, 1)
	}
}

// Header returns the header of the response.
func (x *Exchange) Header() http.Header { return x.ResponseWriter.Header() }

func (x *Exchange) write(text string) { fmt.Fprint(x.ResponseWriter, text) }

func (x *Exchange) flush() {
	http.NewResponseController(x.ResponseWriter).Flush() //nolint:errcheck // the client may have disconnected
}

// hijack returns the connection, which the server no longer uses.
func (x *Exchange) hijack() net.Conn {
	conn, _, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return conn
}

func (x *Exchange) stat(mid, followers, following int64) {
	x.envelope(http.StatusOK, 0, "", relation{
		Message: "0", TTL: 1,
		Data: &relationData{MID: mid, Follower: followers, Following: following},
	})
}

// envelope writes the vendor's envelope. It counts as billed if its code is.
func (x *Exchange) envelope(status, code int, message string, data any) {
	if code == 0 || code == 201 {
		x.api.bill(x)
	}
	body, err := json.Marshal(map[string]any{
		"code":       code,
		"message":    message,
		"recordTime": time.Now().Format(time.RFC3339),
		"requestId":  fmt.Sprintf("stand-in-%d-%d", x.WMID, code),
		"data":       data,
	})
	if err != nil {
		panic(err) // a bug in the test
	}
	Body(status, "application/json", string(body))(x)
}
