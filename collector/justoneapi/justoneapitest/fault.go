package justoneapitest

import (
	"strconv"
	"strings"
	"time"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
)

// Fault is a way in which the API can fail.
type Fault struct {
	Name     string
	Response Response
	Code     string // the label value of upstream_error_code that it causes
	Slow     bool   // whether it lasts until the client times out
}

// Faults returns all faults that the stand-in can simulate. Messages contain the token, as those of a careless server
// could.
func Faults() []Fault {
	message := "token=" + Token + " refused"
	faults := []Fault{
		{Name: "hang", Response: Hang(), Code: justoneapi.CodeTimeout, Slow: true},
		{Name: "trickle", Response: Trickle(10 * time.Millisecond), Code: justoneapi.CodeTimeout, Slow: true},
		{Name: "cut before the response", Response: CutBefore(), Code: justoneapi.CodeNetwork},
		{Name: "reset", Response: Reset(), Code: justoneapi.CodeNetwork},
		{Name: "cut in the middle", Response: CutMiddle(), Code: justoneapi.CodeNetwork},
		{Name: "huge header", Response: HugeHeader(11 << 20), Code: justoneapi.CodeNetwork},
		{Name: "endless body", Response: Endless(), Code: justoneapi.CodeMalformed},
		{Name: "response about another user", Response: OtherUser(999), Code: justoneapi.CodeMismatch},
		{Name: "redirect", Response: Redirect("http://127.0.0.1:1/?token=" + Token), Code: "http_302"},
		{Name: "another protocol", Response: SwitchProtocols(), Code: "http_101"},
		{Name: "unknown code", Response: Code(777, message), Code: "777"},
		{Name: "unknown Bilibili code", Response: BilibiliCode(-777, message), Code: "-777"},
		{Name: "envelope at HTTP 429", Response: StatusCode(429, 302, message), Code: "302"},
		{Name: "envelope at HTTP 500", Response: StatusCode(500, 301, message), Code: "301"},
	}
	for _, code := range []int{100, 101, 201, 202, 300, 301, 302, 303, 400, 404, 500, 503, 600, 601, 602} {
		text := strconv.Itoa(code)
		faults = append(faults, Fault{Name: "code " + text, Response: Code(code, message), Code: text})
	}
	for _, code := range []int{
		-400, -404, -626, 22115, -412, -352, -799, -509, -500, -503, -504, -112, -8888, -101, -111, -401, -403, -658,
	} {
		text := strconv.Itoa(code)
		faults = append(faults, Fault{Name: "Bilibili code " + text, Response: BilibiliCode(code, message), Code: text})
	}
	for _, status := range []int{400, 401, 403, 404, 429, 500, 502, 503, 504} {
		faults = append(faults, Fault{
			Name:     "HTTP " + strconv.Itoa(status),
			Response: Body(status, "text/html", "<html><h1>"+message+"</h1></html>"),
			Code:     "http_" + strconv.Itoa(status),
		})
	}
	for name, body := range map[string]string{
		"empty body": "", "no JSON": message, "half JSON": `{"code":0,"da`, "JSON array": "[]", "JSON null": "null",
		"HTML": "<html>" + message + "</html>", "binary": "\x00\xff\xfe\x1f\x8b", "no code": `{"data":{}}`,
		"code as text": `{"code":"0"}`, "code in another case": `{"Code":0}`, "two codes": `{"code":301,"code":0}`,
		"trailing text": `{"code":0} {"code":0}`, "deep": strings.Repeat(`{"code":`, 20000),
	} {
		response := Body(200, "application/json", body)
		faults = append(faults, Fault{Name: name, Response: response, Code: justoneapi.CodeMalformed})
	}
	for name, data := range map[string]string{
		"no data": `null`, "data as text": `"` + message + `"`, "no inner data": `{"code":0}`,
		"no mid":               `{"code":0,"data":{"follower":1,"following":1}}`,
		"no follower":          `{"code":0,"data":{"mid":{wmid},"following":1}}`,
		"null follower":        `{"code":0,"data":{"mid":{wmid},"follower":null,"following":1}}`,
		"follower as text":     `{"code":0,"data":{"mid":{wmid},"follower":"12","following":1}}`,
		"negative follower":    `{"code":0,"data":{"mid":{wmid},"follower":-1,"following":1}}`,
		"fractional follower":  `{"code":0,"data":{"mid":{wmid},"follower":1.5,"following":1}}`,
		"over-large follower":  `{"code":0,"data":{"mid":{wmid},"follower":9007199254740993,"following":1}}`,
		"follower, other case": `{"code":0,"data":{"mid":{wmid},"Follower":1,"following":1}}`,
		"two followers":        `{"code":0,"data":{"mid":{wmid},"follower":1,"follower":2,"following":1}}`,
		"no following":         `{"code":0,"data":{"mid":{wmid},"follower":1}}`,
	} {
		faults = append(faults, Fault{Name: name, Response: Data(data), Code: justoneapi.CodeMalformed})
	}
	return faults
}
