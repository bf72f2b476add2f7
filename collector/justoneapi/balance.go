package justoneapi

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
)

// Balance is the balance of the account.
type Balance struct {
	Amount   float64 // may be negative
	Currency string  // an ISO 4217 code such as CNY
}

var (
	decimal  = regexp.MustCompile(`^-?[0-9]{1,15}(\.[0-9]{1,15})?$`)
	currency = regexp.MustCompile(`^[A-Z]{3}$`)
)

// decodeBalance decodes the response to a request for the balance. The amount is a decimal number in a string; anything
// else is an error and never a value.
func decodeBalance(status int, body []byte) (Balance, *Error) {
	envelope, failure := openEnvelope(status, body)
	if failure != nil {
		return Balance{}, failure
	}
	data, err := object(envelope["data"])
	if err != nil {
		return Balance{}, malformed(envelope, "data: %w", err)
	}
	var amount string
	if json.Unmarshal(data["balance"], &amount) != nil || !decimal.MatchString(amount) {
		return Balance{}, malformed(envelope, "data: %w", fmt.Errorf("balance is not a decimal number in a string"))
	}
	balance := Balance{Currency: text(data, "currency")}
	if !currency.MatchString(balance.Currency) {
		return Balance{}, malformed(envelope, "data: %w", fmt.Errorf("currency is not an ISO 4217 code"))
	}
	if balance.Amount, err = strconv.ParseFloat(amount, 64); err != nil {
		return Balance{}, malformed(envelope, "data: %w", err)
	}
	return balance, nil
}
