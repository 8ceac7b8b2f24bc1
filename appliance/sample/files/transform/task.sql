-- Activities: a file with one JSON object a line.
SELECT
  a.id::VARCHAR                                               AS legacy_key,
  a.subject                                                   AS subject,
  a.text                                                      AS description,
  CASE a.about WHEN 'company' THEN ref('account', a.about_no)
               WHEN 'person'  THEN ref('contact', a.about_no)
               WHEN 'deal'    THEN ref('opportunity', a.about_no) END AS regardingobjectid,
  a.due                                                       AS scheduledend,
  a.done_at                                                   AS actualend,
  CASE a.prio WHEN 'low' THEN 0 WHEN 'high' THEN 2 ELSE 1 END AS prioritycode,
  a.minutes                                                   AS actualdurationminutes,
  CASE a.state WHEN 'done' THEN 100 ELSE 0 END                AS percentcomplete,
  CASE u.target
    WHEN 'systemuser' THEN existing('systemuser', u.id)
    WHEN 'team' THEN existing('team', u.id)
    ELSE existing('team', 'b0000000-0000-4000-8000-000000000011')
  END                                                         AS ownerid,
  a.created                                                   AS overriddencreatedon,
  s.state                                                     AS statecode,
  s.status                                                    AS statuscode
FROM activities a
LEFT JOIN map_user u ON u.login = a.owner
LEFT JOIN (VALUES ('open', 0, 2), ('started', 0, 3), ('waiting', 0, 4), ('later', 0, 7), ('done', 1, 5),
                  ('dropped', 2, 6)) s (text, state, status) ON s.text = a.state
