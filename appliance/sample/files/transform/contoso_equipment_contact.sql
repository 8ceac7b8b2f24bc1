-- Who may operate which machine: an N:N relationship of our own.
SELECT
  MachineNo || '/' || PersonNo AS legacy_key,
  MachineNo                    AS contoso_equipmentid,
  PersonNo                     AS contactid
FROM machine_operators
