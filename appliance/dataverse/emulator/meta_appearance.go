package emulator

import "dvmigrate/appliance/dataverse/schema"

// appearance is the rest of a table's definition: what applications show of it and may
// change of it. No schema tells, so it is as of a new custom table.
func appearance(t *table) object {
	var o object
	for _, name := range []string{"EntityHelpUrlEnabled", "IsDocumentManagementEnabled", "IsOneNoteIntegrationEnabled", "IsInteractionCentricEnabled",
		"IsKnowledgeManagementEnabled", "IsSLAEnabled", "IsDocumentRecommendationsEnabled", "AutoCreateAccessTeams", "SyncToExternalSearchIndex",
		"IsEnabledForTrace", "IsReadingPaneEnabled", "IsQuickCreateEnabled", "IsEnabledForExternalChannels", "UsesBusinessDataLabelTable"} {
		o = append(o, field{name, false})
	}
	o = append(o, field{"IsEnabledForCharts", t.Kind != schema.Intersect}, field{"DaysSinceRecordLastModified", 0}, field{"Privileges", privileges(t)})
	for _, name := range []string{"EntityHelpUrl", "DataSourceId", "IconLargeName", "IconMediumName", "IconSmallName", "IconVectorName", "MobileOfflineFilters",
		"RecurrenceBaseEntityLogicalName", "ReportViewName", "EntityColor", "ExternalCollectionName"} {
		o = append(o, field{name, nil})
	}
	shown := t.Kind != schema.Intersect
	for _, m := range []struct {
		name, by string
		value    bool
	}{
		{"IsValidForQueue", "canmodifyqueuesettings", false}, {"IsConnectionsEnabled", "canmodifyconnectionsettings", false},
		{"IsRenameable", "isrenameable", true}, {"IsMappable", "ismappable", true}, {"CanCreateForms", "cancreateforms", shown},
		{"CanCreateViews", "cancreateviews", shown}, {"CanCreateCharts", "cancreatecharts", shown},
		{"CanBeRelatedEntityInRelationship", "canberelatedentityinrelationship", shown}, {"CanBePrimaryEntityInRelationship", "canbeprimaryentityinrelationship", shown},
		{"CanBeInManyToMany", "canbeinmanytomany", shown}, {"CanBeInCustomEntityAssociation", "canbeincustomentityassociation", shown},
		{"CanEnableSyncToExternalSearchIndex", "canenablesynctoexternalsearchindex", true}, {"CanModifyAdditionalSettings", "canmodifyadditionalsettings", true},
		{"CanChangeHierarchicalRelationship", "canchangehierarchicalrelationship", shown}, {"CanChangeTrackingBeEnabled", "canchangetrackingbeenabled", true},
		{"IsMailMergeEnabled", "canmodifymailmergesettings", false}, {"IsVisibleInMobile", "canmodifymobilevisibility", false},
		{"IsVisibleInMobileClient", "canmodifymobileclientvisibility", false}, {"IsReadOnlyInMobileClient", "canmodifymobileclientreadonly", false},
		{"IsOfflineInMobileClient", "canmodifymobileclientoffline", false},
	} {
		o = append(o, field{m.name, managed(m.value, m.by)})
	}
	return o
}

// privileges are the rights that there are on a table.
func privileges(t *table) []object {
	out := []object{}
	if t.Kind == schema.Intersect {
		return out
	}
	owned := t.Ownership == schema.UserOwned
	for _, right := range []string{"Create", "Read", "Write", "Delete", "Assign", "Share", "Append", "AppendTo"} {
		if !owned && (right == "Assign" || right == "Share") {
			continue
		}
		name := t.privilege(right)
		out = append(out, object{{"CanBeBasic", owned}, {"CanBeDeep", owned}, {"CanBeGlobal", true}, {"CanBeLocal", owned}, {"CanBeEntityReference", false},
			{"CanBeParentEntityReference", false}, {"Name", name}, {"PrivilegeId", metadataID("privilege", name)}, {"PrivilegeType", right}})
	}
	return out
}

// menu is where applications show what a relationship leads to.
func menu(r, side string) object {
	return object{{"Behavior", "UseCollectionName"}, {"Group", "Details"}, {"Order", nil}, {"IsCustomizable", true}, {"Icon", nil},
		{"ViewId", "00000000-0000-0000-0000-000000000000"}, {"AvailableOffline", true}, {"MenuId", nil}, {"QueryApi", nil}, {"Label", label("", "menu", r, side)}}
}
