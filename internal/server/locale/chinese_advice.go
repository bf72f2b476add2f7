package locale

// chineseAdvice has what to do about failures.
var chineseAdvice = map[string]string{
	"To change the token, set the environment variable JUSTONEAPI_TOKEN and restart.": "要更换 token，" +
		"请设置环境变量 JUSTONEAPI_TOKEN 并重启。",
	"To change the token, edit api.token and reload.": "要更换 token，请修改 api.token 并重新加载。",
	"To change the token, write the new one to api.token_file: the next refresh reads it.": "要更换 token，" +
		"请把新的 token 写入 api.token_file，下一次刷新时会读取。",
	"To change the token, write the new one to the file that LoadCredential names, and restart: systemd copies it at " +
		"startup.": "要更换 token，请把新的 token 写入 LoadCredential 指定的文件并重启：systemd 在启动时复制该文件。",

	"No action is needed: the exporter retries. If it persists, contact the vendor.": "无需处理，exporter 会自动重试。" +
		"如果持续出现，请联系服务商。",
	"If it persists, contact the vendor with the request ID.": "如果持续出现，请联系服务商，并提供请求 ID。",
	"Check the WMID, the number in https://space.bilibili.com/<wmid>. If the user no longer exists, remove it from the " +
		"configuration.": "请检查 WMID，即 https://space.bilibili.com/<wmid> 中的数字。" +
		"如果该用户已不存在，请从配置中移除。",
	"The user hides these numbers. Remove the user from the configuration.": "该用户隐藏了这些数字。请从配置中移除该用户。",
	"No action is needed if it passes: Bilibili is throttling the vendor. A longer quota.min_interval makes it less " +
		"frequent.": "如果随后恢复，则无需处理：B 站正在限制服务商的访问。加长 quota.min_interval 可以减少此类情况。",
	"No action is needed if it passes: Bilibili is failing or being upgraded. If it persists, contact the vendor.": "" +
		"如果随后恢复，则无需处理：B 站出了故障或正在升级。如果持续出现，请联系服务商。",
	"Contact the vendor with the request ID: Bilibili does not accept its session.": "" +
		"请联系服务商，并提供请求 ID：B 站不接受服务商的会话。",
	"No action is needed if it passes: the code is not documented, and says nothing about the user. If it persists, " +
		"contact the vendor with the request ID.": "如果随后恢复，则无需处理：" +
		"该错误码没有文档说明，与用户无关。如果持续出现，请联系服务商，并提供请求 ID。",
	"These responses are billed.": "这些响应会计费。",
	"Check name resolution, firewall, proxy and certificates between the exporter and api.base_url. A proxy that " +
		"refuses must allow connections to it; its user and password are in api.http_client.proxy_url.": "" +
		"请检查 exporter 与 api.base_url 之间的域名解析、防火墙、代理和证书。" +
		"如果是代理拒绝，需要让代理允许连接该地址；代理的用户名和密码写在 api.http_client.proxy_url 中。",
	"No action is needed if it passes. If it persists, make sure that api.timeout is at least 60s, and contact the " +
		"vendor.": "如果随后恢复，则无需处理。如果持续出现，请确认 api.timeout 不低于 60s，并联系服务商。",
	"If it persists, the API has changed or another server responds in its place: check api.base_url and look for a " +
		"newer exporter.": "如果持续出现，说明 API 变了，或者是别的服务器在响应：请检查 api.base_url，" +
		"并看看 exporter 有没有更新的版本。",
	"No action is needed if it passes. If it persists, check api.base_url and the proxy, if any, and contact the " +
		"vendor.": "如果随后恢复，则无需处理。如果持续出现，请检查 api.base_url 和代理（如有），并联系服务商。",
	"Report it to the vendor.": "请告知服务商。",

	"Use a valid token. A different token ends the pause at once.": "请使用有效的 token。换用另一个 token 后，暂停会立即结束。",
	`Have the API "User Relation Stats (V1)" enabled for the account on the vendor's site.`: "" +
		"请在服务商的网站上为账号开通 “User Relation Stats (V1)” 接口。",
	"Top up the account on the vendor's site. The next probe ends the pause.": "请在服务商的网站上为账号充值。" +
		"下一次探测会结束暂停。",
	"Raise the token's limit on the vendor's site, or use another token.": "请在服务商的网站上调高该 token 的限额，" +
		"或者换用另一个 token。",
	"Requests resume when the vendor's day ends. Raise the account's quota, or set quota.daily_limit to it, so that " +
		"it is spread over the day.": "服务商的一天结束后，请求会恢复。请提高账号的配额，" +
		"或者把 quota.daily_limit 设为该配额，使其分摊到全天。",
	"Lower api.max_requests_per_second, and make sure that nothing else uses the token.": "" +
		"请调低 api.max_requests_per_second，并确认没有别的程序在使用这个 token。",
	"No action is needed: single requests probe, and requests resume by themselves. If it lasts, check network, proxy " +
		"and api.base_url, and contact the vendor.": "无需处理：exporter 逐个发送探测请求，上游恢复后请求会自动恢复。" +
		"如果持续很久，请检查网络、代理和 api.base_url，并联系服务商。",
}

// chineseMeanings has what the codes mean.
var chineseMeanings = map[string]string{
	"no response in time":                              "没有及时收到响应",
	"connection failed":                                "连接失败",
	"response does not match the documented format":    "响应与文档中的格式不符",
	"response is about another user":                   "响应属于另一位用户",
	"HTTP error instead of an API response":            "收到的是 HTTP 错误，而不是 API 的响应",
	"unknown code":                                     "未知的错误码",
	"not explained by the vendor":                      "服务商未作说明",
	"not documented by the vendor":                     "服务商未作说明",
	"token invalid or inactive":                        "token 无效或未激活",
	"no such content":                                  "没有相应的内容",
	"collection failed":                                "采集失败",
	"rate limit exceeded":                              "超出速率限制",
	"daily quota exceeded":                             "每日配额已用完",
	"invalid parameter":                                "参数无效",
	"not found":                                        "未找到",
	"internal error":                                   "内部错误",
	"service unavailable":                              "服务不可用",
	"permission denied":                                "没有权限",
	"balance insufficient":                             "余额不足",
	"the token's cumulative spending limit is reached": "已达到该 token 的累计消费限额",

	"Bilibili: not documented":                     "B 站：没有文档说明",
	"Bilibili: bad request":                        "B 站：请求错误",
	"Bilibili: no such user":                       "B 站：没有该用户",
	"Bilibili: the user hides these numbers":       "B 站：用户隐藏了这些数字",
	"Bilibili: blocked by risk control":            "B 站：被风控拦截",
	"Bilibili: too many requests":                  "B 站：请求过多",
	"Bilibili: overloaded":                         "B 站：过载",
	"Bilibili: server error":                       "B 站：服务器错误",
	"Bilibili: overloaded or unavailable":          "B 站：过载或不可用",
	"Bilibili: timeout in Bilibili's backend":      "B 站：B 站后端超时",
	"Bilibili: the system is being upgraded":       "B 站：系统升级中",
	"Bilibili: failing or overloaded":              "B 站：故障或过载",
	"Bilibili: the vendor is not logged in":        "B 站：服务商未登录",
	"Bilibili: the vendor's CSRF token is invalid": "B 站：服务商的 CSRF token 无效",
	"Bilibili: the vendor is not authorized":       "B 站：服务商未获授权",
	"Bilibili: the vendor has no access":           "B 站：服务商没有访问权限",
	"Bilibili: the vendor's session has expired":   "B 站：服务商的会话已过期",
}
