-- Companies. Every source column is text, so keys keep their leading zeros.
SELECT
  c.KDNR                                                      AS legacy_key,
  c.KDNR                                                      AS accountnumber,
  trim(concat_ws(' ', c.FIRMA, c.FIRMA2))                     AS name,
  c.KONZERN                                                   AS parentaccountid,   -- key of another company
  c.HAUPTKONTAKT                                              AS primarycontactid,  -- key of a person: a circle, closed in a second pass
  CASE c.TYP WHEN 'K' THEN 3 WHEN 'I' THEN 8 WHEN 'L' THEN 10 ELSE 12 END AS customertypecode,
  -- A text that the map lacks becomes -1, which staging reports; NULL would hide it.
  CASE WHEN c.BRANCHE IS NOT NULL THEN coalesce(i.value::INTEGER, -1) END AS industrycode,
  r.value::INTEGER                                            AS contoso_region,
  replace(replace(c.UMSATZ, '.', ''), ',', '.')               AS revenue,           -- 1.234,56
  replace(replace(c.KREDITLIMIT, '.', ''), ',', '.')          AS creditlimit,
  c.SPERRE = 'J'                                              AS creditonhold,
  existing('transactioncurrency', cur.id)                     AS transactioncurrencyid,
  c.MITARB                                                    AS numberofemployees,
  c.STRASSE                                                   AS address1_line1,
  c.PLZ                                                       AS address1_postalcode,
  c.ORT                                                       AS address1_city,
  c.LAND                                                      AS address1_country,
  c.TEL                                                       AS telephone1,
  c.EMAIL                                                     AS emailaddress1,
  c.WEB                                                       AS websiteurl,
  c.BEMERKUNG                                                 AS description,
  -- Who has left is not in the map, or has no id there: the sales team takes over.
  CASE u.target
    WHEN 'systemuser' THEN existing('systemuser', u.id)
    WHEN 'team' THEN existing('team', u.id)
    ELSE existing('team', 'b0000000-0000-4000-8000-000000000011')
  END                                                         AS ownerid,
  strptime(c.ANGELEGT, '%d.%m.%Y %H:%M')                      AS overriddencreatedon,
  CASE c.STATUS WHEN 'I' THEN 1 ELSE 0 END                    AS statecode,         -- the final state; set last
  CASE c.STATUS WHEN 'I' THEN 2 ELSE 1 END                    AS statuscode
FROM customers c
LEFT JOIN map_industry i   ON i.text = c.BRANCHE
LEFT JOIN map_region r     ON r.code = c.REGION
LEFT JOIN map_currency cur ON cur.iso = c.WHG
LEFT JOIN map_user u       ON u.login = c.BETREUER
