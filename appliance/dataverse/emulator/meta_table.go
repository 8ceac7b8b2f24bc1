package emulator

import (
	"slices"

	"dvmigrate/appliance/dataverse/schema"
)

// entity makes the definition of a table (section 12.1).
func (m *model) entity(t *table) definition {
	d := definition{typ: "EntityMetadata", props: entityProps(t)}
	d.navs = []navigation{
		{name: "Attributes", declared: attributeBase, items: func() []definition { return m.attributes(t) }},
		{name: "Keys", declared: "EntityKeyMetadata", items: func() []definition { return m.keys(t) }},
		{name: "ManyToOneRelationships", declared: "OneToManyRelationshipMetadata", items: func() []definition { return m.manyToOne(t) }},
		{name: "OneToManyRelationships", declared: "OneToManyRelationshipMetadata", items: func() []definition { return m.oneToMany(t) }},
		{name: "ManyToManyRelationships", declared: "ManyToManyRelationshipMetadata", items: func() []definition { return m.manyToMany(t) }},
	}
	return d
}

func entityProps(t *table) object {
	kind := map[schema.TableKind]string{schema.Elastic: "Elastic", schema.Virtual: "Virtual"}[t.Kind]
	return append(object{
		{"MetadataId", metadataID("entity", t.LogicalName)},
		{"HasChanged", nil},
		{"ActivityTypeMask", map[bool]int{true: 1}[t.isActivity()]},
		{"AutoRouteToOwnerQueue", false},
		{"CanTriggerWorkflow", true},
		{"DataProviderId", nil},
		{"IsActivity", t.isActivity()},
		{"IsActivityParty", t.LogicalName == "account" || t.LogicalName == "contact" || t.LogicalName == "systemuser"},
		{"IsAvailableOffline", false},
		{"IsChildEntity", false},
		{"IsAIRUpdated", true},
		{"IsCustomEntity", t.Custom},
		{"IsBPFEntity", false},
		{"IsBusinessProcessEnabled", false},
		{"IsOptimisticConcurrencyEnabled", t.OptimisticConcurrency},
		{"ChangeTrackingEnabled", t.ChangeTracking},
		{"IsImportable", t.Kind != schema.Intersect},
		{"IsIntersect", t.Kind == schema.Intersect},
		{"IsManaged", false},
		{"IsValidForAdvancedFind", t.Kind != schema.Intersect},
		{"IsPrivate", false},
		{"IsLogicalEntity", false},
		{"IsStateModelAware", t.state != nil},
		{"EnforceStateTransitions", t.StateTransitions},
		{"HasNotes", t.HasNotes},
		{"HasActivities", false},
		{"HasFeedback", false},
		{"LogicalName", t.LogicalName},
		{"LogicalCollectionName", orNull(t.EntitySet)},
		{"ObjectTypeCode", t.ObjectTypeCode},
		{"OwnershipType", ownershipTypes[t.Ownership]},
		{"PrimaryNameAttribute", orNull(t.PrimaryName)},
		{"PrimaryImageAttribute", orNull(primaryImage(t.Table))},
		{"PrimaryIdAttribute", t.PrimaryID},
		{"SchemaName", or(t.SchemaName, t.LogicalName)},
		{"CollectionSchemaName", or(t.SchemaName, t.LogicalName) + "s"},
		{"EntitySetName", orNull(t.EntitySet)},
		{"ExternalName", nil},
		{"IntroducedVersion", "1.0"},
		{"TableType", or(kind, "Standard")},
		{"Description", label("", "description", t.LogicalName)},
		{"DisplayName", label(t.DisplayName, "table", t.LogicalName)},
		{"DisplayCollectionName", label(t.DisplayName, "tables", t.LogicalName)},
		{"IsAuditEnabled", managed(false, "canmodifyauditsettings")},
		{"IsCustomizable", managed(true, "iscustomizable")},
		{"IsDuplicateDetectionEnabled", managed(false, "canmodifyduplicatedetectionsettings")},
		{"CanCreateAttributes", managed(t.Kind != schema.Intersect, "cancreateattributes")},
	}, appearance(t)...)
}

var ownershipTypes = map[schema.Ownership]string{
	"": "None", schema.NotOwned: "None", schema.UserOwned: "UserOwned",
	schema.OrganizationOwned: "OrganizationOwned", schema.BusinessOwned: "BusinessOwned",
}

func (m *model) entities() []definition {
	out := make([]definition, len(m.tables))
	for i, t := range m.tables {
		out[i] = m.entity(t)
	}
	return out
}

func (m *model) attributes(t *table) []definition {
	out := make([]definition, len(t.cols))
	for i, c := range t.cols {
		out[i] = m.attribute(t, c)
	}
	return out
}

// keys makes the definitions of the alternate keys (section 12.5).
func (m *model) keys(t *table) []definition {
	out := []definition{}
	for _, k := range t.addressing() {
		status := "Active"
		switch {
		case slices.Contains(m.failed, metadataID("key", t.LogicalName, k.LogicalName)):
			status = "Failed"
		case k.Inactive:
			status = "Pending"
		}
		out = append(out, definition{typ: "EntityKeyMetadata", props: object{
			{"MetadataId", metadataID("key", t.LogicalName, k.LogicalName)},
			{"HasChanged", nil},
			{"IsCustomizable", managed(true, "iscustomizable")},
			{"IsManaged", false},
			{"IntroducedVersion", "1.0"},
			{"EntityLogicalName", t.LogicalName},
			{"KeyAttributes", slices.Clone(k.Columns)},
			{"EntityKeyIndexStatus", status},
			{"IsExportKey", false},
			{"IsSynchronous", false},
			{"LogicalName", k.LogicalName},
			{"SchemaName", or(k.SchemaName, k.LogicalName)},
			{"DisplayName", label(or(k.SchemaName, k.LogicalName), "key", t.LogicalName, k.LogicalName)},
		}})
	}
	return out
}

// manyToOne makes the definitions of the table's lookups (section 12.4).
func (m *model) manyToOne(t *table) []definition {
	out := []definition{}
	for _, r := range t.ManyToOne {
		out = append(out, m.oneToManyRelationship(t, r))
	}
	return out
}

// oneToMany makes the definitions of the lookups that lead to the table.
func (m *model) oneToMany(t *table) []definition {
	out := []definition{}
	for _, from := range m.tables {
		for _, r := range from.ManyToOne {
			if r.Target == t.LogicalName {
				out = append(out, m.oneToManyRelationship(from, r))
			}
		}
	}
	return out
}

func (m *model) oneToManyRelationship(from *table, r schema.Relationship) definition {
	referenced := r.Target + "id"
	if target := m.byName[r.Target]; target != nil {
		referenced = target.PrimaryID
	}
	cascade := object{}
	for _, name := range []string{"Assign", "Delete", "Archive", "Merge", "Reparent", "Share", "Unshare", "RollupView"} {
		cascade = append(cascade, field{name, or(r.Cascade[name], map[bool]string{true: "RemoveLink", false: "NoCascade"}[name == "Delete"])})
	}
	return definition{typ: "OneToManyRelationshipMetadata", props: append(relationshipProps(r.SchemaName, "OneToManyRelationship", from.LogicalName, r.Column, r.Target), object{
		{"ReferencedAttribute", referenced},
		{"ReferencedEntity", r.Target},
		{"ReferencingAttribute", r.Column},
		{"ReferencingEntity", from.LogicalName},
		{"IsHierarchical", isHierarchy(from, r)},
		{"EntityKey", nil},
		{"IsRelationshipAttributeDenormalized", false},
		{"ReferencedEntityNavigationPropertyName", orNull(r.Collection)},
		{"ReferencingEntityNavigationPropertyName", orNull(r.Nav)},
		{"RelationshipBehavior", 0},
		{"CascadeConfiguration", cascade},
		{"AssociatedMenuConfiguration", menu(r.SchemaName, r.Target)},
		{"RelationshipAttributes", []object{}},
	}...)}
}

func relationshipProps(name, kind string, ids ...string) object {
	return object{
		{"MetadataId", metadataID(append([]string{"relationship", name}, ids...)...)},
		{"HasChanged", nil},
		{"IsCustomRelationship", false},
		{"IsValidForAdvancedFind", true},
		{"SchemaName", name},
		{"SecurityTypes", "None"},
		{"IsManaged", false},
		{"RelationshipType", kind},
		{"IntroducedVersion", "1.0"},
		{"IsCustomizable", managed(true, "iscustomizable")},
	}
}

// manyToMany makes the definitions of the N:N relationships the table is in.
func (m *model) manyToMany(t *table) []definition {
	out := []definition{}
	for i := range m.schema.ManyToMany {
		if r := &m.schema.ManyToMany[i]; r.Table1 == t.LogicalName || r.Table2 == t.LogicalName {
			out = append(out, manyToManyRelationship(r))
		}
	}
	return out
}

func manyToManyRelationship(r *schema.ManyToMany) definition {
	return definition{typ: "ManyToManyRelationshipMetadata", props: append(relationshipProps(r.SchemaName, "ManyToManyRelationship"), object{
		{"Entity1LogicalName", r.Table1},
		{"Entity2LogicalName", r.Table2},
		{"IntersectEntityName", orNull(r.Intersect)},
		{"Entity1IntersectAttribute", orNull(r.Column1)},
		{"Entity2IntersectAttribute", orNull(r.Column2)},
		{"Entity1NavigationPropertyName", orNull(r.Nav1)},
		{"Entity2NavigationPropertyName", orNull(r.Nav2)},
		{"Entity1AssociatedMenuConfiguration", menu(r.SchemaName, "1")},
		{"Entity2AssociatedMenuConfiguration", menu(r.SchemaName, "2")},
	}...)}
}

// relationships makes the definitions of all relationships, 1:N before N:N.
func (m *model) relationships() []definition {
	out := []definition{}
	for _, t := range m.tables {
		out = append(out, m.manyToOne(t)...)
	}
	for i := range m.schema.ManyToMany {
		out = append(out, manyToManyRelationship(&m.schema.ManyToMany[i]))
	}
	return out
}

// isHierarchy reports whether the relationship is the one that its table's hierarchy goes by.
func isHierarchy(from *table, r schema.Relationship) bool {
	own := from.selfRelation()
	return own != nil && own.col.LogicalName == r.Column && r.Target == from.LogicalName
}
