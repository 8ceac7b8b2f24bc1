package emulator

import (
	"slices"

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
