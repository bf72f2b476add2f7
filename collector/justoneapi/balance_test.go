package justoneapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi"
	"github.com/bilibili-exporter/bilibili_exporter/collector/justoneapi/justoneapitest"
)

// TestBalance decodes responses about the balance: an amount is a decimal number in a string, or there is no value.
func TestBalance(t *testing.T) {
	server := newServer(t)
	client := newClient(t, server)
	envelope := func(data string) string { return `{"code":0,"requestId":"id","data":` + data + `}` }
	for _, test := range []struct {
		name, body string
		want       justoneapi.Balance
		code       string // of the failure; empty for none
	}{
		{"documented", justoneapitest.Balance, justoneapi.Balance{Amount: 123.45, Currency: "CNY"}, ""},
		{"integer", envelope(`{"balance":"7","currency":"USD"}`), justoneapi.Balance{Amount: 7, Currency: "USD"}, ""},
		{"zero", envelope(`{"balance":"0.0000","currency":"CNY"}`), justoneapi.Balance{Currency: "CNY"}, ""},
		{"negative", envelope(`{"balance":"-0.50","currency":"CNY"}`), justoneapi.Balance{Amount: -.5, Currency: "CNY"}, ""},
		{"number", envelope(`{"balance":123.45,"currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"null", envelope(`{"balance":null,"currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"empty", envelope(`{"balance":"","currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"missing", envelope(`{"currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"in another case", envelope(`{"Balance":"1","currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"twice", envelope(`{"balance":"1","balance":"2","currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"exponent", envelope(`{"balance":"1e3","currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"not a number", envelope(`{"balance":"NaN","currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"hexadecimal", envelope(`{"balance":"0x10","currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"thousands", envelope(`{"balance":"1,234.5","currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"spaces", envelope(`{"balance":" 1","currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"over-large", envelope(`{"balance":"1234567890123456","currency":"CNY"}`), justoneapi.Balance{}, "malformed"},
		{"no currency", envelope(`{"balance":"1"}`), justoneapi.Balance{}, "malformed"},
		{
			"odd currency", envelope(`{"balance":"1","currency":"token=` + justoneapitest.Token + `"}`),
			justoneapi.Balance{}, "malformed",
		},
		{"no data", `{"code":0}`, justoneapi.Balance{}, "malformed"},
		{"refused", `{"code":601,"message":"` + justoneapitest.Token + `"}`, justoneapi.Balance{}, "601"},
		{"no envelope", "<html>" + justoneapitest.Token, justoneapi.Balance{}, "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server.SetBalance(justoneapitest.Body(http.StatusOK, "application/json", test.body))
			got, err := client.Balance(t.Context(), token)
			var failure *justoneapi.Error
			if errors.As(err, &failure) != (test.code != "") || failure != nil && failure.Code != test.code || got != test.want {
				t.Errorf("got %+v, %v; want %+v, code %q", got, err, test.want, test.code)
			}
			if err != nil && strings.Contains(err.Error(), justoneapitest.Token) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
	if got := server.Total(); got != (justoneapitest.Tally{}) {
		t.Errorf("requests for the balance are requests for users: %+v", got)
	}
}
