-- Machines: a table of our own.
SELECT
  m.MachineNo                                                 AS legacy_key,
  concat_ws(' ', m.Label, m.MachineNo)                        AS contoso_name,
  m.Serial                                                    AS contoso_serial,      -- an alternate key
  CASE m.HolderKind WHEN 'C' THEN ref('account', m.HolderNo)
                    WHEN 'P' THEN ref('contact', m.HolderNo) END AS contoso_customerid,
  m.PartOf                                                    AS contoso_parentid,    -- key of another machine
  m.ArtNo                                                     AS contoso_productid,
  CASE m.Category WHEN 'machine' THEN 100000000 WHEN 'vehicle' THEN 100000001
                  WHEN 'tool' THEN 100000002 WHEN 'instrument' THEN 100000003 END AS contoso_category,
  -- Several choices are a text of values with commas.
  nullif(concat_ws(',',
    CASE WHEN contains(m.Features, 'GPS')       THEN '100000000' END,
    CASE WHEN contains(m.Features, 'Heated')    THEN '100000001' END,
    CASE WHEN contains(m.Features, 'Remote')    THEN '100000002' END,
    CASE WHEN contains(m.Features, 'Telemetry') THEN '100000003' END,
    CASE WHEN contains(m.Features, 'Offline')   THEN '100000004' END), '') AS contoso_features,
  m.Warranty = 'yes'                                          AS contoso_underwarranty,
  m.Installed                                                 AS contoso_installedon,
  strptime(m.LastService, '%Y-%m-%d %H:%M')                   AS contoso_lastserviceon,
  m.Services                                                  AS contoso_servicecount,
  m.Hours                                                     AS contoso_hours,
  m.Load                                                      AS contoso_loadfactor,
  m.Price                                                     AS contoso_purchaseprice,
  existing('transactioncurrency', cur.id)                     AS transactioncurrencyid,
  m.Remarks                                                   AS contoso_notes,
  CASE u.target
    WHEN 'systemuser' THEN existing('systemuser', u.id)
    WHEN 'team' THEN existing('team', u.id)
    ELSE existing('team', 'b0000000-0000-4000-8000-000000000011')
  END                                                         AS ownerid,
  s.state                                                     AS statecode,
  s.status                                                    AS statuscode
FROM machines m
LEFT JOIN map_currency cur ON cur.iso = m.Currency
LEFT JOIN map_user u       ON u.login = m.Owner
LEFT JOIN (VALUES ('in use', 0, 1), ('in repair', 0, 100000001), ('sold', 1, 2),
                  ('scrapped', 1, 100000002)) s (text, state, status) ON s.text = m.Status
