package emulator

import (
	"slices"
	"strings"

	"dvmigrate/appliance/dataverse/schema"
)

// organizationColumns are the settings of the environment that clients look at before
// they load (section 12.8), with what a new environment has in them.
func organizationColumns() []*schema.Column {
	return []*schema.Column{
		{LogicalName: "languagecode", SchemaName: "LanguageCode", Type: schema.Integer},
		{LogicalName: "basecurrencyid", SchemaName: "BaseCurrencyId", Type: schema.Lookup, Targets: []string{"transactioncurrency"}},
		{LogicalName: "isauditenabled", SchemaName: "IsAuditEnabled", Type: schema.YesNo},
		{LogicalName: "maxuploadfilesize", SchemaName: "MaxUploadFileSize", Type: schema.Integer},
		{LogicalName: "blockedattachments", SchemaName: "BlockedAttachments", Type: schema.Memo, MaxLength: 1073741823},
		{LogicalName: "expirechangetrackingindays", SchemaName: "ExpireChangeTrackingInDays", Type: schema.Integer},
		{LogicalName: "plugintracelogsetting", SchemaName: "PluginTraceLogSetting", Type: schema.Choice,
			Options: []schema.Option{{Value: 0, Label: "Off"}, {Value: 1, Label: "Exception"}, {Value: 2, Label: "All"}}},
	}
}

// withNames names the primary name columns that a schema does not tell, as a $metadata
// document does not: those that the service's tables have by convention.
func withNames(s *schema.Schema) (*schema.Schema, error) {
	var err error
	for _, t := range s.Tables {
		name := primaryName(t)
		if t.PrimaryName != "" || t.Kind == schema.Intersect || name == "" {
			continue
		}
		named := *t
		named.PrimaryName = name
		if s, err = s.With(&named); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func primaryName(t *schema.Table) string {
	prefix, _, _ := strings.Cut(t.LogicalName, "_")
	for _, name := range []string{"fullname", "subject", "name", "title", "currencyname", prefix + "_name", prefix + "_fullname", prefix + "_title"} {
		if slices.ContainsFunc(t.Columns, func(c *schema.Column) bool { return c.LogicalName == name && c.Type == schema.Text }) {
			return name
		}
	}
	return ""
}

// withSettings adds to a schema's organization table the settings that it lacks. The
// schema itself is not changed; one without the table stays as it is.
func withSettings(s *schema.Schema) (*schema.Schema, error) {
	at := slices.IndexFunc(s.Tables, func(t *schema.Table) bool { return t.LogicalName == "organization" })
	if at < 0 {
		return s, nil
	}
	org := *s.Tables[at]
	org.Columns, org.ManyToOne = slices.Clone(org.Columns), slices.Clone(org.ManyToOne)
	currency := slices.ContainsFunc(s.Tables, func(t *schema.Table) bool { return t.LogicalName == "transactioncurrency" })
	for _, c := range organizationColumns() {
		if slices.ContainsFunc(org.Columns, func(o *schema.Column) bool { return o.LogicalName == c.LogicalName }) {
			continue
		}
		if c.Type == schema.Lookup && currency {
			org.ManyToOne = append(org.ManyToOne, schema.Relationship{SchemaName: "basecurrency_organization", Column: c.LogicalName, Target: c.Targets[0], Nav: c.LogicalName, Collection: "basecurrency_organization"})
		}
		org.Columns = append(org.Columns, c)
	}
	return s.With(&org)
}
