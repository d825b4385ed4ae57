package rules

import "out_amberflo/plugin/meter/internal/grammar"

// Use is what the user wrote, and not a default: an accessor that should find something, or a literal.
type Use struct {
	Option  string
	From    *grammar.Accessor // nil for a literal
	Literal string
}

// uses notes what a survey of records looks for.
func (c *compiler) uses(o Options) {
	r := c.rules
	add := func(option string, list ...*grammar.Accessor) {
		for _, a := range list {
			if a != nil && a.Root != grammar.FromTag {
				r.Uses = append(r.Uses, Use{Option: option, From: a})
			}
		}
	}
	addSource := func(option string, from Source, written, byDefault string) {
		addLiteral(r, option, from.Literal)
		if written != "" && written != byDefault {
			add(option, from.From...)
		}
	}
	for i := range r.Conditions {
		add("only_if", r.Conditions[i].From)
	}
	if r.PayloadRecord {
		return
	}
	addSource("customer_id", r.Customer, o.CustomerID, defaultCustomer)
	if o.Meters == "" {
		addSource("meter_api_name", r.Meters[0].Name, o.MeterAPIName, defaultMeter)
	}
	for i := range r.Meters {
		for _, t := range r.Meters[i].Value.Terms {
			add(r.ValueOption, t.From)
		}
	}
	addSource("meter_time", Source{From: r.Times}, o.MeterTime, defaultTime)
	if o.UniqueID != "" && o.UniqueID != defaultID {
		for _, id := range r.IDs {
			add("unique_id", id.From)
			add("unique_id", id.Hash...)
		}
	}
	for _, d := range r.Dimensions {
		add("dimensions", d.From)
		addLiteral(r, "dimensions", d.Literal)
	}
}

func addLiteral(r *Rules, option string, literal []byte) {
	if len(literal) > 2 {
		r.Uses = append(r.Uses, Use{Option: option, Literal: string(literal[1 : len(literal)-1])})
	}
}
