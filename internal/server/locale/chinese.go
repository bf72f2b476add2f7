package locale

// chineseAnchors are the anchors of the Chinese documents, by the English ones.
var chineseAnchors = map[string]string{
	"codes":                       "错误码",
	"command-line-flags":          "命令行参数",
	"daily-budget":                "每日预算",
	"rotate-the-token":            "轮换-token",
	"status-page":                 "状态页",
	"storage":                     "存储",
	"when-the-account-is-refused": "账号被拒绝时",
}

// chinese has the Chinese texts by the English ones.
var chinese = merge(chinesePage, chineseSummary, chineseTable, chineseAdvice, chineseMeanings)

// merge returns all entries of several maps.
func merge(parts ...map[string]string) map[string]string {
	all := make(map[string]string)
	for _, part := range parts {
		for key, text := range part {
			if all[key] != "" {
				panic("locale: two translations of " + key) // the tests create the catalogue
			}
			all[key] = text
		}
	}
	return all
}

// chinesePage has the frame of the page.
var chinesePage = map[string]string{
	"Metrics": "指标", "Configuration": "配置", "Health": "存活检查", "Readiness": "就绪检查", "Documentation": "文档",
	"Grafana: creators": "Grafana：UP 主", "Grafana: exporter": "Grafana：exporter",
	"Loading this page is a scrape: it requests the users that are due.": "打开此页就是一次抓取：会请求已到期的用户。",
	"Requests may be billed.":                       "请求可能计费。",
	"Nothing is billed in this demo.":               "本演示不会产生任何费用。",
	"As of %s (UTC%s); all times are in this zone.": "截至 %s（UTC%s），所有时间均为此时区。",
	"Refreshed every 30 s.":                         "每 30 秒刷新一次。",
	"Stop refreshing":                               "停止刷新",
	"Refresh every 30 s":                            "每 30 秒刷新",
	"Requests are sent only on scrapes, and there has been none yet.": "只有抓取才会发送请求，而目前还没有抓取。",
	"Add this exporter to the targets of Prometheus. To try it at once, open the metrics: that is a scrape, so the " +
		"users that are due are requested.": "请把本 exporter 加入 Prometheus 的抓取目标。" +
		"想马上试用，可以打开指标页：这就是一次抓取，会请求已到期的用户。",
	"Open the metrics": "打开指标页", "More about it": "详细说明",
	"Users": "用户", "Today’s budget": "今日预算", "Balance": "余额", "Replicas": "副本", "Requests": "请求",
	"Requests charged today":                                 "今日计入的请求",
	"Requests are made only on scrapes, never by this page.": "只有抓取才会发送请求，本页不会。",
	"Name, WMID or label":                                    "名称、WMID 或标签",
	"Sort by":                                                "排序", "Worst first": "异常优先", "Show": "显示",
	"Show all users": "显示所有用户", "Pages": "翻页", "First": "首页", "Previous": "上一页", "Next": "下一页", "Last": "末页",
	"What the states mean": "状态的含义", "What the codes mean": "错误码的含义",

	"%s\u00a0s": "%s\u00a0秒", "%s\u00a0min": "%s\u00a0分钟", "%s\u00a0h": "%s\u00a0小时", "%s\u00a0d": "%s\u00a0天",
	"%s\u00a0h\u00a0%s\u00a0min": "%s\u00a0小时\u00a0%s\u00a0分钟",
	"%s\u00a0d\u00a0%s\u00a0h":   "%s\u00a0天\u00a0%s\u00a0小时",
	"%s\u00a0days":               "%s\u00a0天", "more than %s\u00a0days": "%s\u00a0天以上",
	"1 user": "1 位用户", "%s users": "%s 位用户", "1 request": "1 个请求", "%s requests": "%s 个请求",
	"%s ago": "%s前", "in %s": "%s后", "over %s": "%s内", "%s (%s)": "%s（%s）", "%s: %s": "%s：%s",
}

// chineseSummary has the headline, the problems and the cards.
var chineseSummary = map[string]string{
	"Working": "工作正常", "Working, with warnings": "工作正常，但有警告", "Working, on standby": "工作正常，待命中",
	"Working, %s": "工作正常，%s", "Partly working: %s": "部分正常：%s", "Not working: %s": "工作异常：%s",
	"Starting: %s": "正在启动：%s", "Waiting for the first scrape": "等待首次抓取",
	"%s since %s":                                            "自 %[2]s 起，%[1]s",
	"%s of %s failing with %s":                               "%[2]s中有 %[1]s 位请求失败（%[3]s）",
	"%s of %s failing, mostly with %s":                       "%[2]s中有 %[1]s 位请求失败（多为 %[3]s）",
	"%s of %s without a new value, requests failing with %s": "%[2]s中有 %[1]s 位没有新的数值，请求失败（%[3]s）",
	"%s of %s stale":                                         "%[2]s中有 %[1]s 位数值陈旧",
	"%s of %s waiting":                                       "%[2]s中有 %[1]s 位等待首次请求",
	"%s of %s unavailable":                                   "%[2]s中有 %[1]s 位不可用",

	"the exporter is shutting down":                              "exporter 正在关闭",
	"The exporter is shutting down and starts no more requests.": "exporter 正在关闭，不再发送新的请求。",
	"It waits for requests in flight, at most for api.timeout.":  "它会等待进行中的请求，最多等待 api.timeout。",
	"the upstream is failing":                                    "上游故障",
	"%s, requests paused":                                        "%s，请求已暂停",
	"Requests are paused: %s. Next probe: %s.":                   "请求已暂停：%s。下一次探测：%s。",
	"first scrape after %s":                                      "%s之后的首次抓取",
	"next scrape":                                                "下次抓取",
	"today’s budget is used up, requests resume at %s":           "今日预算已用尽，请求将于 %s恢复",
	"Today’s budget is used up. Requests resume at %s.":          "今日预算已用尽，请求将于 %s恢复。",
	"Raise quota.daily_limit if the account allows more, or lengthen the intervals.": "如果账号允许，" +
		"请调高 quota.daily_limit，或者加长间隔。",
	"The daily limit is low: to stay within it, every interval is stretched by %s.": "每日上限偏低：" +
		"为了不超出上限，所有间隔都拉长到 %s 倍。",
	"Values are updated less often. Raise quota.daily_limit if the account allows more, lengthen the intervals, or " +
		"configure fewer users.": "数值的更新因此变慢。如果账号允许，请调高 quota.daily_limit，或者加长间隔，或者减少配置的用户。",
	"no scrape":         "没有抓取",
	"No scrape for %s.": "已有 %s没有抓取。",
	"Requests are made only on scrapes. Check the target in Prometheus (Status, Targets).": "只有抓取才会发送请求。" +
		"请在 Prometheus 中检查抓取目标（Status → Targets）。",
	"Reloading the configuration has failed since %s, and the previous one is used: %s": "自 %s 起重新加载配置失败，" +
		"继续使用之前的配置：%s",
	"Fix it and reload again.":                               "请更正后重新加载。",
	"the database cannot be used":                            "数据库不可用",
	"Using the database has failed since %s: %s":             "自 %s 起访问数据库出错：%s",
	"Requests are sent again once the database can be used.": "数据库恢复后，才会再次发送请求。",
	"Writing persistent state has failed since %s: %s":       "自 %s 起写入持久化状态出错：%s",
	"Check the disk: a restart would request users again, which may be billed.": "请检查磁盘：" +
		"此时重启会再次请求用户，可能重复计费。",
	"This replica cannot become active: %s":        "本副本无法成为活动副本：%s",
	"Synchronize the clocks, for instance by NTP.": "请同步时钟，例如使用 NTP。",
	"no replica is active":                         "没有活动副本",
	"Reading the token has failed since %s, and the last valid one is used: %s": "自 %s 起读取 token 出错，" +
		"继续使用上一个有效的 token：%s",
	"Restore the file: the exporter does not start without it.": "请恢复该文件：没有它，exporter 无法启动。",
	"The persistent state was damaged at startup and was renamed to %s: %s": "启动时发现持久化状态已损坏，" +
		"已改名为 %s：%s",
	"All users are requested again, which may be billed. No action is needed, but check the disk. Delete the renamed " +
		"file once nobody wants to examine it.": "所有用户都会重新请求，可能计费。无需处理，但请检查磁盘。" +
		"改名后的文件不再需要检查时，即可删除。",

	"Resets at %s.": "将于 %s重置。",
	"%s charged today; no daily limit is configured": "今日计入 %s；未设置每日上限",
	"%s of %s charged, %s left":                      "%[2]s中已计入 %[1]s 个，剩余 %[3]s 个",
	"Until then, every interval is stretched by %s.": "在此之前，所有间隔都拉长到 %s 倍。",
	"Because the state was damaged at startup (%s), the share of the day that had passed by then counts as used.": "" +
		"由于启动时（%s）发现状态已损坏，当天此前的时间所对应的份额按已用计算。",
	"Not yet requested.": "尚未请求。",
	"Not known; last requested %s. The log has the error, if any.": "未知；上次请求于 %s。如有错误，见日志。",
	"%s %s, received %s": "%s %s，%s取得",
	"Last requested %s. The log has the error, if any.":    "上次请求于 %s。如有错误，见日志。",
	"Lasts %s at the rate of the last day, %s %s per day.": "按最近一天的消耗（每天 %[2]s %[3]s），还能用 %[1]s。",
	"No scrape since startup %s.":                          "%s启动，此后没有抓取。",
	"Last scrape %s; started %s.":                          "上次抓取：%s；启动：%s。",
	"Queue: no user is due.":                               "队列：没有到期的用户。",
	"Queue: %s due, for the active replica.":               "队列：%s到期，由活动副本请求。",
	"Queue: %s due, waiting for the end of the pause.":     "队列：%s到期，等待暂停结束。",
	"Queue: %s due, waiting for the next budget.":          "队列：%s到期，等待下一个配额日。",
	"Queue: %s due. The requests take about %s.":           "队列：%s到期，请求约需 %s。",
	"%s in flight.": "%s进行中。",

	"This replica, %s, has been active for %s.": "本副本 %s 已活动 %s。",
	"The others are on standby: they expose the same values and send no requests.": "其他副本待命：" +
		"它们暴露相同的数值，不发送请求。",
	"This replica, %s, is on standby. As of the last scrape, %s has been active for %s.": "" +
		"本副本 %s 待命中。截至上次抓取，%s 已活动 %s。",
	"This replica becomes active at a scrape when the other one stops or has not been scraped for 150 s.": "" +
		"活动副本停止或 150 秒没有被抓取后，本副本会在一次抓取时成为活动副本。",
	"No replica is active.": "没有活动副本。",
	"This replica, %s, becomes active at its next scrape if it can.": "如果可以，本副本 %s 会在下一次抓取时成为活动副本。",
}

// chineseTable has the table of users.
var chineseTable = map[string]string{
	"State": "状态", "Name": "名称", "WMID": "WMID", "Followers": "粉丝", "Following": "关注", "Change": "变化", "Age": "距今",
	"Next request": "下次请求", "Last error": "最近的错误",
	"failing": "失败", "stale": "陈旧", "unavailable": "不可用", "waiting": "等待", "fresh": "新鲜",
	"the last request failed":                           "最近一次请求失败",
	"an update is overdue":                              "应更新而未更新",
	"the API has no value for this user":                "API 没有该用户的数值",
	"no request has completed yet":                      "还没有任何请求完成",
	"updated within the expected interval":              "在预期的间隔内更新过",
	"No user matches":                                   "没有符合条件的用户",
	"Users %s to %s of %s":                              "第 %s 至 %s 位用户，共 %s 位",
	"%s with %s":                                        "%s，标签 %s",
	"expired, no longer exposed":                        "已过期，不再暴露",
	"in flight":                                         "进行中",
	"The exporter stopped before the response arrived.": "响应到达之前，exporter 已停止。",
	"No action is needed: it may have been billed, so the next request waits for the interval.": "无需处理：" +
		"该请求可能已计费，因此下一次请求要等间隔到达。",
	"A request has been due for %s.": "已到期 %s而未请求。",
	"If this persists although the exporter is scraped, requests do not keep up: raise api.max_concurrency or " +
		"api.max_requests_per_second, or lengthen the intervals.": "如果一直有抓取而仍然如此，说明请求跟不上：" +
		"请调高 api.max_concurrency 或 api.max_requests_per_second，或者加长间隔。",
}
