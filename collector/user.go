package collector

import "strconv"

// User is a user whose counts are exposed. Its texts are valid UTF-8.
type User struct {
	WMID   int64
	Name   string            // for bilibili_user_info and the log
	Labels map[string]string // further labels of bilibili_user_info
}

func formatWMID(wmid int64) string { return strconv.FormatInt(wmid, 10) }
