(define (problem cottage) (:domain cottage)
 (:objects me - agent
    door hearth window - location
    Table_bar_1 Bench_bar_2 Chest_bar_3 Sink_bar_4_bar_SinkBasin - receptacle
    Cup_bar_1 Cup_bar_2 Spoon_bar_1 Radio_bar_1 - object
    TableType BenchType ChestType - rtype
    CupType SpoonType RadioType - otype)
 (:init
    (atLocation me door)
    (receptacleAtLocation Table_bar_1 hearth) (receptacleAtLocation Bench_bar_2 hearth)
    (receptacleAtLocation Chest_bar_3 window) (receptacleAtLocation Sink_bar_4_bar_SinkBasin window)
    (receptacleType Table_bar_1 TableType) (receptacleType Bench_bar_2 BenchType)
    (receptacleType Chest_bar_3 ChestType) (receptacleType Sink_bar_4_bar_SinkBasin BasinType)
    (openable Chest_bar_3)
    (objectType Cup_bar_1 CupType) (objectType Cup_bar_2 CupType)
    (objectType Spoon_bar_1 SpoonType) (objectType Radio_bar_1 RadioType)
    (canContain TableType CupType) (canContain TableType SpoonType) (canContain BenchType CupType)
    (canContain ChestType CupType) (canContain BasinType CupType) (canContain BasinType SpoonType)
    (pickupable Cup_bar_1) (pickupable Cup_bar_2) (pickupable Spoon_bar_1)
    (cleanable Cup_bar_1) (cleanable Cup_bar_2) (toggleable Radio_bar_1)
    (inReceptacle Cup_bar_1 Table_bar_1) (objectAtLocation Cup_bar_1 hearth)
    (inReceptacle Spoon_bar_1 Table_bar_1) (objectAtLocation Spoon_bar_1 hearth)
    (inReceptacle Radio_bar_1 Table_bar_1) (objectAtLocation Radio_bar_1 hearth)
    (inReceptacle Cup_bar_2 Chest_bar_3) (objectAtLocation Cup_bar_2 window))
 (:goal (and (exists (?r - receptacle ?o - object)
    (and (inReceptacle ?o ?r) (isClean ?o) (objectType ?o CupType) (receptacleType ?r ChestType))))))
