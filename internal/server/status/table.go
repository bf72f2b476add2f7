package status

// rowsPerPage is the number of users on a page.
const rowsPerPage = 100

// table is the page of users that the query selects.
type table struct {
	Headings []heading
	Advice   []sharedAdvice
	Rows     []row
	Caption  string
	Pages    []link

	Search      string
	Hidden      []field // of the query, kept by the search form
	SortOptions []sortOption
	AllUsers    string // link to all users; empty if all are shown
}

func (r renderer) newTable(q query) table {
	var matching []*entry
	for _, e := range r.entries {
		if e.matches(q) {
			matching = append(matching, e)
		}
	}
	if c := findColumn(q.column); c != nil {
		c.sort(matching, q.desc)
	}
	lastPage := max(1, (len(matching)+rowsPerPage-1)/rowsPerPage)
	q.page = min(q.page, lastPage)
	first := (q.page - 1) * rowsPerPage
	shown := matching[first:min(len(matching), first+rowsPerPage)]

	t := table{
		Headings: newHeadings(q), Pages: r.newPageLinks(q, lastPage), Search: q.search, Hidden: q.hidden(),
		Caption: r.caption(first, len(shown), len(matching), q), SortOptions: newSortOptions(q),
	}
	for _, e := range shown {
		t.Rows = append(t.Rows, r.newRow(e, q))
	}
	t.Advice = shareAdvice(t.Rows)
	if q.search != "" || q.health != "" || q.label != "" {
		t.AllUsers = q.link(func(q *query) { q.search, q.health, q.label = "", "", "" })
	}
	return t
}

// caption describes the selected users.
func (r renderer) caption(first, shown, matching int, q query) string {
	var text string
	switch {
	case matching == 0:
		text = r.Text("No user matches")
	case shown == matching:
		text = r.users(matching)
	default:
		text = r.Text("Users %s to %s of %s",
			formatNumber(first+1), formatNumber(first+shown), formatNumber(matching))
	}
	if q.label != "" {
		text = r.Text("%s with %s", text, q.label)
	}
	return text
}

// heading is the heading of a column. Its link sorts by the column.
type heading struct {
	Title, Link string
	Class       string
	Sort        string // ascending or descending; empty if the table is not sorted by the column
}

func newHeadings(q query) []heading {
	var headings []heading
	for _, c := range columns {
		h := heading{Title: c.title, Class: c.class, Link: q.link(func(changed *query) {
			changed.column, changed.desc = c.name, c.desc
			if q.column == c.name {
				changed.desc = !q.desc
			}
		})}
		if q.column == c.name {
			h.Sort = "ascending"
			if q.desc {
				h.Sort = "descending"
			}
		}
		headings = append(headings, h)
	}
	return headings
}

// sortOption is a column to sort by, for screens that are too narrow for headings.
type sortOption struct {
	Value, Title string
	Selected     bool
}

func newSortOptions(q query) []sortOption {
	var options []sortOption
	for _, c := range columns {
		options = append(options, sortOption{c.name, c.title, c.name == q.column})
	}
	return options
}

func (r renderer) newPageLinks(q query, lastPage int) []link {
	var links []link
	add := func(title string, page int) {
		links = append(links, link{title, q.link(func(q *query) { q.page = page })})
	}
	if q.page > 1 {
		add(r.Text("First"), 1)
		add(r.Text("Previous"), q.page-1)
	}
	if q.page < lastPage {
		add(r.Text("Next"), q.page+1)
		add(r.Text("Last"), lastPage)
	}
	return links
}
