package grafana

// chinese has the texts of the Chinese dashboards, by the English text. The meanings of codes are those of the status
// page.
var chinese = map[string]string{
	"Bilibili":                         "B 站",
	"Bilibili: creators":               "B 站：UP 主",
	"Bilibili: creator":                "B 站：单个 UP 主",
	"Bilibili: exporter":               "B 站：exporter",
	"Other dashboards of the exporter": "exporter 的其他仪表盘",
	"Followers of all creators: current values, changes, growth and milestones.": "全部 UP 主的粉丝数：当前数值、" +
		"变化、增长和里程碑。",
	"One creator: followers, milestones, best and worst days, losses.": "单个 UP 主：粉丝数、里程碑、最好和最差的一天、" +
		"掉粉。",
	"Budget, requests, errors and health of the exporter.": "exporter 的预算、请求、错误和健康状况。",

	"Data source":                           "数据源",
	"Prometheus that scrapes the exporter.": "抓取 exporter 的 Prometheus。",
	"Job":                                   "任务（job）",
	"Job of the exporter in Prometheus: one job for each token.": "exporter 在 Prometheus 中的 job：每个 token 一个。",
	"Creator":        "UP 主",
	"Name and WMID.": "名称和 WMID。",
	"Show":           "显示数量",
	"Number of creators in charts, and of gains and losses.": "图表中 UP 主的数量，以及涨跌榜的长度。",
	"Movers over": "涨跌榜时段",
	"Time span of the largest gains and losses.": "涨跌榜所比较的时段。",
	"Followers dropped":                          "明显掉粉",
	"Followers plunged":                          "急剧掉粉",

	"no data": "无数据", "no value yet": "尚无数值", "no value then": "当时无数值", "no value that old": "没有那么早的数值",
	"not enough data": "数据不足", "unknown": "未知", "yes": "是", "no": "否", "none": "无",

	"Health": "健康状况", "Fresh": "新鲜", "Failing": "失败", "Alerts": "告警", "no rules": "没有规则",
	"Budget at midnight": "日终预算", "no limit": "无上限", "up": "正常", "down": "宕机",
	"Exporter: whether Prometheus can scrape it. Fresh: share of the configured creators with a value younger than " +
		"three intervals (at least 5 min). Failing: creators whose last request failed. Alerts: firing alerts; needs the " +
		"rules of examples/prometheus/rules. Budget at midnight: share of the daily limit that will be used when the quota " +
		"day ends, if requests continue as planned.": "Exporter：Prometheus 能否抓取到它。新鲜：数值的存在时间不到三个间隔" +
		"（至少 5 min）的 UP 主所占的比例。失败：最近一次请求失败的 UP 主数。告警：正在触发的告警数，需要 " +
		"examples/prometheus/rules 中的规则。日终预算：如果请求按计划继续，配额日结束时每日上限将用掉的比例。",

	"Selected creators": "所选 UP 主", "Creators": "UP 主", "Followers": "粉丝数", "7 days": "7 天", "7 days, %": "7 天，%",
	"30 days": "30 天", "24 h": "24 小时", "24 h, %": "24 小时，%",
	"Followers: current sum. A user who follows two of the creators counts twice. The changes compare only creators " +
		"that have a value now and had one then.": "粉丝数：当前的总和，同时关注其中两位 UP 主的用户计两次。变化只比较现在和当时都有数值的 " +
		"UP 主。",

	"Trend": "走势", "State": "状态", "Age": "数值时间", "Milestone": "里程碑", "Expected": "预计日期",
	"Details": "详情", "Page on Bilibili": "B 站主页",
	"fresh": "新鲜", "stale": "陈旧", "waiting": "等待",
	"Click a column to sort, for example by gain. Trend: followers in the time range. Age: time since the value was " +
		"received. Milestone: the next of 1, 5, 10, 50 thousand and so on. Expected: its date at the average pace of the " +
		"last 7 days. State: fresh, stale (older than three intervals), waiting (not requested yet), no data (the exporter " +
		"has not been scraped for 5 min), or what the last request failed with.": "点击列名可以排序，例如按涨粉数。走势：" +
		"时间范围内的粉丝数。数值时间：取得该数值后经过的时间。里程碑：1 千、5 千、1 万、5 万……中的下一个。预计日期：" +
		"按最近 7 天的平均速度达到里程碑的日期。状态：新鲜，陈旧（超过三个间隔），等待（尚未请求），无数据" +
		"（已有 5 min 抓取不到 exporter），或者最近一次请求失败的原因。",

	"The $top selected creators with the most followers, on a logarithmic axis. Marks on the time axis show when an " +
		"alert about lost followers was firing: orange for BilibiliFollowersDropped, red for BilibiliFollowersPlunged.": "" +
		"所选 UP 主中粉丝最多的 $top 位，对数坐标。时间轴上的标记表示掉粉告警正在触发：橙色为 " +
		"BilibiliFollowersDropped，红色为 BilibiliFollowersPlunged。",
	"Growth": "增长",
	"Change since the start of the time range, for the $top selected creators with the most followers. A creator " +
		"without a value at the start is compared with its lowest value in the time range.": "所选 UP 主中粉丝最多的 $top " +
		"位，自时间范围开始以来的变化。如果开始时没有数值，则与时间范围内的最低值比较。",
	"Movers over $window":                                 "涨跌榜：$window",
	"Movers over $window, %":                              "涨跌榜：$window，%",
	"The $top largest gains and the $top largest losses.": "涨粉最多的 $top 位和掉粉最多的 $top 位。",
	"The $top largest gains and the $top largest losses, as a share of the followers at that time.": "涨粉和掉粉比例最大的各 " +
		"$top 位，以占当时粉丝数的比例表示。",
	"Change": "变化", "Gain per day": "每日涨粉", "gain": "涨粉",
	"Followers gained and lost by all selected creators on each day. The last bar is today, so far. Creators without a " +
		"value at the start of a day are excluded on that day.": "全部所选 UP 主每天涨粉和掉粉的总和。最后一根柱是今天到目前为止。" +
		"某天开始时没有数值的 UP 主，当天不计。",
	"Followers gained and lost on each day. The last bar is today, so far.": "每天的涨粉和掉粉。最后一根柱是今天到目前为止。",
	"Drops":        "掉粉",
	"all creators": "全部 UP 主", "rules evaluated": "规则生效", "dropped": "明显掉粉", "plunged": "急剧掉粉",
	"no data: Prometheus had no rules": "无数据：Prometheus 没有规则",
	"Times when an alert about lost followers was firing, by creator. dropped: more than 1 % fewer than a day ago. " +
		"plunged: more than 5 % fewer than an hour ago. The row of all creators shows when Prometheus had the rules of " +
		"examples/prometheus/rules: without them there are no alerts.": "各 UP 主掉粉告警触发的时段。明显掉粉：比一天前减少超过 " +
		"1 %。急剧掉粉：比一小时前减少超过 5 %。“全部 UP 主”一行表示 Prometheus 何时有 examples/prometheus/rules " +
		"中的规则：没有规则就没有告警。",

	"Now": "当前", "Rank": "排名", "Interval": "间隔",
	"Rank: among all creators of the job, by followers. Milestone: the next of 1, 5, 10, 50 thousand and so on. " +
		"Expected: its date at the average pace of the last 7 days. Age: time since the value was received. Interval: time " +
		"between two requests now, including stretch and backoff.": "排名：按粉丝数，在该 job 的全部 UP 主中的名次。里程碑：" +
		"1 千、5 千、1 万、5 万……中的下一个。预计日期：按最近 7 天的平均速度达到里程碑的日期。数值时间：取得该数值后经过的时间。" +
		"间隔：目前两次请求之间的时间，包括拉长和退避。",
	"followers": "粉丝数",
	"Followers in the time range. Marks on the time axis show when an alert about lost followers was firing: orange for " +
		"BilibiliFollowersDropped, red for BilibiliFollowersPlunged.": "时间范围内的粉丝数。时间轴上的标记表示掉粉告警正在触发：" +
		"橙色为 BilibiliFollowersDropped，红色为 BilibiliFollowersPlunged。",
	"In this time range": "此时间范围内", "Best 24 h": "最好的 24 小时", "Worst 24 h": "最差的 24 小时",
	"Largest loss in 1 h": "一小时内最大掉粉",
	"Best and worst 24 h: largest and smallest change within any 24 h. Largest loss in 1 h: most followers lost within " +
		"any hour; 0 if there was none.": "最好和最差的 24 小时：任意 24 小时内的最大和最小变化。一小时内最大掉粉：" +
		"任意一小时内掉粉最多的数量；没有掉粉则为 0。",
	"Following": "关注数", "following": "关注数", "Number of users that the creator follows.": "该 UP 主关注的用户数。",
	"Requests": "请求", "value received": "取得数值", "failed": "失败",
	"Whether the last request returned a value, and the code of the failure otherwise. The table on the dashboard of " +
		"all creators shows what the code means.": "最近一次请求是否取得了数值；如果没有，则为失败的错误码。" +
		"错误码的含义见全部 UP 主仪表盘中的表格。",

	"Up": "正常", "Down": "宕机", "Active": "活动", "Next probe": "下次探测", "Left today": "今日剩余", "not paused": "未暂停",
	"Up: exporters that Prometheus can scrape. Active: replicas that send requests; a single exporter is always active. " +
		"Next probe: time until a paused exporter sends a single request. Left today: requests that remain of the daily " +
		"limit. Budget at midnight: share of the daily limit that will be used when the quota day ends, if requests " +
		"continue as planned. Alerts: firing alerts; needs the rules of examples/prometheus/rules.": "正常：Prometheus " +
		"能抓取到的 exporter 数。活动：发送请求的副本数，单个 exporter 始终是活动的。下次探测：暂停中的 exporter " +
		"多久之后发送单个请求。今日剩余：每日上限中剩余的请求数。日终预算：如果请求按计划继续，配额日结束时每日上限将用掉的比例。告警：" +
		"正在触发的告警数，需要 examples/prometheus/rules 中的规则。",

	"Exporters": "Exporter 列表", "Scrape": "抓取", "Replica": "副本", "In flight": "进行中", "Storage errors": "存储错误",
	"Memory": "内存", "Started": "启动", "Configuration": "配置加载", "Last reload": "最近重新加载", "Version": "版本",
	"Status page": "状态页", "active": "活动", "standby": "待命", "successful": "成功",
	"Every target of the job. Of several replicas that share storage, one is active and sends requests. In flight: " +
		"requests without a response. Storage errors: failed reads and writes of the state in the time range. Click an " +
		"address to open the status page, if your browser can reach it.": "该 job 的全部抓取目标。共享存储的多个副本中，" +
		"有一个是活动的，由它发送请求。进行中：尚无响应的请求。存储错误：时间范围内读写状态失败的次数。点击地址可以打开状态页，" +
		"前提是浏览器能访问该地址。",
	"Pauses": "暂停", "paused: account refused": "暂停：账号被拒绝", "paused: outage": "暂停：故障",
	"Times when all requests were paused, by reason. Red: the account is refused; token, permission, token_limit and " +
		"balance need action, daily_quota and rate_limit end by themselves. Orange: the API or Bilibili is down " +
		"(outage).": "" +
		"所有请求暂停的时段，按原因区分。红色：账号被拒绝；token、permission、token_limit 和 balance " +
		"需要处理，daily_quota 和 rate_limit 会自行结束。橙色：API 或 B 站故障（outage）。",
	"Budget": "预算", "used": "已用", "expected at midnight": "日终预计", "limit": "上限",
	"Requests charged in this quota day, the daily limit, and how many will be charged at the end of the day if " +
		"requests continue as planned. A request is charged when it is recorded, and refunded when its response proves " +
		"that the vendor does not count it.": "本配额日计入的请求数，每日上限，以及请求按计划继续时到日终将计入的请求数。请求在记录时计入；" +
		"如果响应证明服务商不计算它，则会退还。",
	"Requests per minute": "每分钟请求数", "billed": "计费", "not billed": "不计费", "bill unknown": "是否计费未知",
	"Requests to the API, stacked. billed: the vendor bills the response. not billed: failures with a code that is " +
		"certainly not billed; they are refunded to the budget. bill unknown: all others, such as timeouts.": "向 API " +
		"发送的请求，堆叠显示。计费：服务商对响应计费。不计费：错误码确定不计费的失败，会退还给预算。是否计费未知：其他请求，例如超时。",
	"Errors per minute": "每分钟错误数",
	"Failed requests by code, stacked. The code none shows that no request failed. Prometheus 3 notes here that the " +
		"metric might not be a counter, because its name has no suffix _total; it is one.": "失败的请求，按错误码堆叠显示。none " +
		"表示没有失败的请求。Prometheus 3 会在此提示该指标可能不是计数器，因为其名称没有后缀 _total；它确实是计数器。",
	"Errors": "错误", "Code": "错误码", "Meaning": "含义", "no request failed": "没有失败的请求",
	"all codes after the first 100 distinct ones": "前 100 种之后的所有错误码",
	"Failed requests in the time range, by code, with the meaning of the code. docs/metrics.md says whether the " +
		"response is billed and what happens next.": "时间范围内失败的请求，按错误码区分，附错误码的含义。响应是否计费、" +
		"之后会怎样，见 docs/zh-CN/metrics.md。",
	"Configured creators; those with a value younger than three intervals (at least 5 min); those whose last request " +
		"failed.": "配置的 UP 主数，数值的存在时间不到三个间隔（至少 5 min）的 UP 主数，以及最近一次请求失败的 UP 主数。",
	"configured": "已配置", "failing": "失败",
	"Latency": "延迟", "no data, or no requests": "无数据，或者没有请求",
	"Duration of API requests, including failures, estimated from the buckets of the histogram: half of the requests, " +
		"and 95 %, were faster. Requests are canceled after api.timeout (60 s by default).": "API 请求的耗时，包括失败的请求，" +
		"由直方图的桶估算：一半的请求，以及 95 % 的请求，比它更快。超过 api.timeout（默认 60 s）的请求会被取消。",
	"Suppressed per minute": "每分钟跳过数",
	"Users skipped although their minimum interval had elapsed, by reason; counted once per scrape. stretch and " +
		"daily_limit: the budget. backoff: the user's own errors. paused: all requests are paused.": "最小间隔已到而被跳过的用户数，" +
		"按原因区分，每次抓取计一次。stretch 和 daily_limit：预算。backoff：用户自身错误。paused：所有请求暂停。",
	"Stretch": "拉长倍数", "stretch": "拉长倍数",
	"Factor by which the daily limit stretches every interval; 1 = none. If it exceeds 2 for an hour, the alert " +
		"BilibiliQuotaStretched fires.": "每日上限使所有间隔拉长的倍数；1 表示没有拉长。超过 2 并持续一小时，会触发告警 " +
		"BilibiliQuotaStretched。",
	"Balance": "余额", "Balance now": "当前余额", "Days left": "可用天数",
	"no balance: see api.balance_interval": "没有余额，参见 api.balance_interval",
	"Balance of the Just One API account. It needs api.balance_interval, and is absent once it is older than three " +
		"intervals.": "Just One API 账号的余额。需要 api.balance_interval；超过三个间隔后不再显示。",
	"Days left: until the balance is spent, at the pace of the last day; payments into the account do not count. " +
		"With less than three days left, the alert BilibiliBalanceLow fires. It is unknown without a balance, and if " +
		"nothing was spent. Age: time since the balance was received, normally up to api.balance_interval.": "可用天数：" +
		"按最近一天的消耗速度，余额还能用的天数；充值不计。少于三天时，会触发告警 " +
		"BilibiliBalanceLow。没有余额或没有消耗时为未知。数值时间：取得余额后经过的时间，正常情况下不超过 api.balance_interval。",
	"Replicas": "副本",
	"Which exporter was active, that is, sent requests. A single exporter is always active.": "哪个 exporter " +
		"是活动的，即由它发送请求。单个 exporter 始终是活动的。",
}
