; A household of few actions, in words of its own, with each feature that the engine reads.
(define (domain cottage)
 (:requirements :adl :typing)
 (:types agent location receptacle object rtype otype)
 (:constants BasinType - rtype)
 (:predicates
    (atLocation ?a - agent ?l - location) (receptacleAtLocation ?r - receptacle ?l - location)
    (objectAtLocation ?o - object ?l - location) (inReceptacle ?o - object ?r - receptacle)
    (openable ?r - receptacle) (opened ?r - receptacle) (checked ?x)
    (receptacleType ?r - receptacle ?t - rtype) (objectType ?o - object ?t - otype) (canContain ?rt - rtype ?ot - otype)
    (holds ?a - agent ?o - object) (holdsAny ?a - agent) (pickupable ?o - object) (toggleable ?o - object)
    (isOn ?o - object) (isToggled ?o - object) (cleanable ?o - object) (isClean ?o - object))
 (:action wait :parameters (?a - agent) :precondition () :effect (and (checked ?a)))
 (:action gaze :parameters (?a - agent ?l - location) :precondition (and (atLocation ?a ?l)) :effect (and (checked ?l)))
 (:action study
    :parameters (?a - agent ?o - object)
    :precondition (or (exists (?l - location ?r - receptacle)
                        (and (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r)
                             (or (not (openable ?r)) (opened ?r))))
                      (holds ?a ?o))
    :effect (and (checked ?o)))
 (:action walk
    :parameters (?a - agent ?from - location ?to - location ?r - receptacle)
    :precondition (and (atLocation ?a ?from) (receptacleAtLocation ?r ?to))
    :effect (and (not (atLocation ?a ?from)) (atLocation ?a ?to)))
 (:action unlock
    :parameters (?a - agent ?l - location ?r - receptacle)
    :precondition (and (openable ?r) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (not (opened ?r)))
    :effect (and (opened ?r)))
 (:action shut
    :parameters (?a - agent ?l - location ?r - receptacle)
    :precondition (and (openable ?r) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (opened ?r))
    :effect (and (not (opened ?r))))
 (:action grab
    :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
    :precondition (and (pickupable ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r)
                       (not (holdsAny ?a)) (or (not (openable ?r)) (opened ?r)))
    :effect (and (not (inReceptacle ?o ?r)) (not (objectAtLocation ?o ?l)) (holds ?a ?o) (holdsAny ?a)))
 (:action lay
    :parameters (?a - agent ?l - location ?o - object ?r - receptacle ?ot - otype ?rt - rtype)
    :precondition (and (holds ?a ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
                       (or (not (openable ?r)) (opened ?r))
                       (objectType ?o ?ot) (receptacleType ?r ?rt) (canContain ?rt ?ot))
    :effect (and (inReceptacle ?o ?r) (objectAtLocation ?o ?l) (not (holds ?a ?o)) (not (holdsAny ?a))))
 (:action rinse
    :parameters (?a - agent ?l - location ?r - receptacle ?o - object)
    :precondition (and (cleanable ?o) (receptacleType ?r BasinType) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
                       (holds ?a ?o))
    :effect (and (isClean ?o)))
 (:action press
    :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
    :precondition (and (toggleable ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r))
    :effect (and (when (isOn ?o) (not (isOn ?o))) (when (not (isOn ?o)) (isOn ?o)) (isToggled ?o))))
